//! Repairing what can be repaired without a doubt. Voxels keep their values, images are never touched, and every
//! file that is replaced stays beside the new one as `NAME.before_repair`.
//!
//! - `numTraining` of dataset.json becomes the number of cases, unless a case may be missing because a file of it is
//!   a broken link.
//! - A label map that lies where its image lies but for rounding (every corner within [`ROUNDING`] of a voxel) takes
//!   over the image's geometry.
//! - A label map of whole numbers stored as real ones is stored as integers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nnunet_volume::Volume;
use rayon::prelude::*;

use super::cases::found_training_cases;
use super::fault::{Problem, Report, Severity};
use super::{DatasetJson, ImageFormats, ImageGeometry, ImageReader};
use nnunet_base::files::write_atomic;
use nnunet_base::progress::Silent;
use nnunet_pyformats::json::{Json, KeyOrder};

/// Distance, as a fraction of the smallest edge of a voxel, within which two places are the same but for rounding.
pub const ROUNDING: f64 = 0.1;
/// Appended to the name of a file that was replaced.
pub const ORIGINAL: &str = "before_repair";

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone.
    Repaired,
    /// It is not one that can be repaired without a doubt.
    Left,
    /// The repair failed, for this reason; the file is as it was.
    Failed(String),
}

/// Repairs the faults that `verify` found in the raw dataset in `folder`, whose images have one of `formats`; one outcome
/// for each, in their order.
pub fn repair(folder: &Path, report: &Report, formats: &ImageFormats) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Left; report.faults.len()];
    let Some(json) = &report.json else { return outcomes };
    let cases_may_be_missing = report
        .faults
        .iter()
        .any(|fault| fault.case.is_none() && matches!(fault.problem, Problem::BrokenLink));
    for (fault, outcome) in report.faults.iter().zip(&mut outcomes) {
        if let Problem::NumTraining { found, .. } | Problem::NumTrainingMissing { found } = fault.problem
            && !cases_may_be_missing
        {
            *outcome = write_num_training(json, found).into();
        }
    }
    let cases = found_training_cases(folder, json, &Silent).unwrap_or_default();
    let example = cases.first().and_then(|case| case.images.first());
    let Ok(reader) = ImageReader::for_example(formats, json, example.map(PathBuf::as_path)) else {
        return outcomes;
    };
    let mut labels: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (i, fault) in report.faults.iter().enumerate() {
        if cases.iter().any(|case| case.label.as_deref() == Some(&fault.path)) {
            labels.entry(&fault.path).or_default().push(i);
        }
    }
    let done: Vec<_> = labels
        .into_par_iter()
        .flat_map_iter(|(path, faults)| {
            let problems: Vec<&Problem> = faults.iter().map(|&i| &report.faults[i].problem).collect();
            faults.into_iter().zip(repair_label(&reader, path, &problems))
        })
        .collect();
    for (i, outcome) in done {
        outcomes[i] = outcome;
    }
    outcomes
}

impl<E: ToString> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Repaired,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

fn write_num_training(json: &DatasetJson, cases: usize) -> Result<(), String> {
    let mut document = json.document().clone();
    if let Json::Object(entries) = &mut document {
        entries.insert("numTraining".to_owned(), cases.into());
    }
    keep_original(json.path())?;
    document.save(json.path(), KeyOrder::Kept).map_err(|e| e.to_string())
}

/// The image that a fault of a label's place compares it with.
fn image_of(problem: &Problem) -> Option<&Path> {
    match problem {
        Problem::Spacing { other, .. }
        | Problem::Origin { other, .. }
        | Problem::Direction { other, .. }
        | Problem::Affine { other, .. } => Some(other),
        _ => None,
    }
}

/// Repairs the label map at `path`, which has `problems`; one outcome for each.
fn repair_label(reader: &ImageReader, path: &Path, problems: &[&Problem]) -> Vec<Outcome> {
    let left = || vec![Outcome::Left; problems.len()];
    let hopeless = |problem: &&Problem| {
        problem.severity() == Severity::Error
            && image_of(problem).is_none()
            && !matches!(problem, Problem::UnexpectedLabels { .. })
    };
    // Formats without a place know nothing of rounding, and pictures are integers always.
    if problems.iter().any(hopeless) || !reader.format().knows_place() {
        return left();
    }
    let Ok(label) = reader.read(path) else { return left() };
    let image = problems.iter().find_map(|problem| image_of(problem));
    let image = image.and_then(|path| Some(reader.read_channels(path).ok()?.geometry));
    let place = image.filter(|image| same_but_for_rounding(image, &label.geometry, label.volume.shape()));
    let repaired = |problem: &Problem| match problem {
        Problem::RealLabels { .. } => true,
        _ => image_of(problem).is_some() && place.is_some(),
    };
    if !problems.iter().any(|problem| repaired(problem)) {
        return left();
    }
    let outcome = Outcome::from(rewrite(reader, path, &label.volume, &place.unwrap_or(label.geometry)));
    problems.iter().map(|problem| if repaired(problem) { outcome.clone() } else { Outcome::Left }).collect()
}

/// Writes the labels again, as integers, with a geometry.
fn rewrite(
    reader: &ImageReader,
    path: &Path,
    labels: &Volume<f32>,
    geometry: &ImageGeometry,
) -> Result<(), String> {
    let mut whole = Vec::with_capacity(labels.data().len());
    for &value in labels.data() {
        if value.fract() != 0.0 || !(0.0..=f32::from(u16::MAX)).contains(&value) {
            return Err(format!("{}: label {value} cannot be stored in 16 bits", path.display()));
        }
        whole.push(value as u32);
    }
    let labels = Volume::new(labels.shape(), whole).ok_or("as many labels as voxels")?;
    keep_original(path)?;
    reader.write_labels(path, &labels, geometry).map_err(|e| e.to_string())
}

/// Copies a file beside itself, unless an earlier repair did: the first original is the one to keep.
fn keep_original(path: &Path) -> Result<(), String> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ORIGINAL);
    let copy = path.with_file_name(name);
    if copy.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|e| format!("{}: cannot read it: {e}", path.display()))?;
    write_atomic(&copy, &bytes).map_err(|e| format!("{}: cannot write it: {e}", copy.display()))
}

/// Whether all corners of a grid of `shape` (z, y, x) lie in the same places.
fn same_but_for_rounding(a: &ImageGeometry, b: &ImageGeometry, shape: [usize; 3]) -> bool {
    let edge = a.spacing_zyx().smallest();
    let last = shape.map(|n| n.saturating_sub(1) as f64);
    (0..8).all(|corner| {
        let [z, y, x] = std::array::from_fn(|axis| if corner >> axis & 1 == 1 { last[axis] } else { 0.0 });
        match (position(a, [x, y, z]), position(b, [x, y, z])) {
            (Some(a), Some(b)) => {
                let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
                squares.sum::<f64>().sqrt() <= ROUNDING * edge
            }
            _ => false,
        }
    })
}

/// Position in mm of an index (x, y, z) of the file.
fn position(geometry: &ImageGeometry, index: [f64; 3]) -> Option<[f64; 3]> {
    match geometry {
        ImageGeometry::Itk(g) => Some(std::array::from_fn(|row| {
            let steps = (0..3).map(|axis| g.direction[3 * row + axis] * g.spacing[axis] * index[axis]);
            g.origin[row] + steps.sum::<f64>()
        })),
        ImageGeometry::Nibabel { original, .. } => Some(std::array::from_fn(|row| {
            let steps = (0..3).map(|axis| original[row][axis] * index[axis]);
            original[row][3] + steps.sum::<f64>()
        })),
        ImageGeometry::Spacing(_) => None,
    }
}

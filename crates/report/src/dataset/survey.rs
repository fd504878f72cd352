//! What the cases of a dataset are like: every case is read once, and a few numbers are kept of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nnunet_base::Ctx;
use nnunet_base::one_case::one_case;
use nnunet_base::progress::{Event, Interrupted};
use nnunet_base::workers::Workers;
use nnunet_dataset::image_geometry::voxel_ml;
use nnunet_dataset::{Case, DatasetJson, ImageFormats, ImageReader, LabelManager, LabelOrRegion};
use nnunet_volume::morphology::{Connectivity, connected_components};
use nnunet_volume::{SpacingMm, Volume};

use crate::error::ReportError;

/// What the cases of a dataset are like.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The classes: foreground regions, or else foreground labels.
    pub classes: Vec<LabelOrRegion>,
    /// The cases that could be read, in their order.
    pub cases: Vec<CaseSurvey>,
    /// The others, with what is wrong.
    pub unreadable: Vec<(String, String)>,
}

/// What a case is like.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseSurvey {
    /// Its name.
    pub identifier: String,
    /// Its first image.
    pub image: PathBuf,
    /// Its segmentation.
    pub label: PathBuf,
    /// Shape (z, y, x) in voxels.
    pub shape: [usize; 3],
    /// Spacing (z, y, x) in mm.
    pub spacing: SpacingMm,
    /// For each channel the mean of the voxels that have a class; NaN if none has.
    pub intensities: Vec<f64>,
    /// One for each class of the survey.
    pub classes: Vec<ClassSurvey>,
}

/// A class in a case.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClassSurvey {
    /// Voxels that have it.
    pub voxels: usize,
    /// Their volume in ml; in thousands of pixels for pictures, which have no size.
    pub ml: f64,
    /// Connected components (sharing at least a corner).
    pub components: usize,
}

/// Looks at all `cases` of the dataset of `json`, whose images have one of `formats`. A case that cannot be read is listed and
/// the others are looked at.
///
/// # Errors
/// Labels that contradict each other; no reader for the images; a case that is too large for this machine; interrupted.
pub fn survey(
    cases: &[Case],
    json: &DatasetJson,
    formats: &ImageFormats,
    ctx: Ctx<'_>,
) -> Result<Survey, ReportError> {
    let classes = LabelManager::new(json)?.foreground();
    let example = cases.first().and_then(|case| case.images.first());
    let reader = ImageReader::for_example(formats, json, example.map(PathBuf::as_path))?;
    let needs: Vec<(&str, u64)> =
        cases.iter().map(|case| (case.identifier.as_str(), memory_of(case, &reader))).collect();
    let workers = Workers::plan(&needs, None, ctx)?;
    ctx.event(Event::Started { stage: "survey", total: cases.len() as u64 });
    let done = AtomicU64::new(0);
    let found: Mutex<Vec<Option<Result<CaseSurvey, String>>>> = Mutex::new(vec![None; cases.len()]);
    let work = |number: usize| {
        let case = &cases[number];
        let result = one_case(|| look_at(case, &reader, &classes));
        found.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        ctx.event(Event::Advanced { done, detail: &case.identifier });
    };
    workers.run(work, ctx.cancel);
    ctx.event(Event::Finished);
    let mut survey = Survey { classes: classes.clone(), cases: Vec::new(), unreadable: Vec::new() };
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (case, result) in cases.iter().zip(found) {
        match result.ok_or(Interrupted)? {
            Ok(seen) => survey.cases.push(seen),
            Err(fault) => survey.unreadable.push((case.identifier.clone(), fault)),
        }
    }
    Ok(survey)
}

/// Bytes that a case needs at most: two files of f32 and a mask, with room for the runs of its components.
fn memory_of(case: &Case, reader: &ImageReader) -> u64 {
    let header = case.images.first().and_then(|path| reader.read_header(path).ok());
    // A case that cannot be read needs nothing.
    let Some((channels, shape, _)) = header else { return 0 };
    let voxels = shape.iter().fold(1u64, |all, edge| all.saturating_mul(*edge as u64));
    voxels.saturating_mul(4 * (channels as u64 + 1) + 8)
}

fn look_at(case: &Case, reader: &ImageReader, classes: &[LabelOrRegion]) -> Result<CaseSurvey, String> {
    let label = case.label.as_ref().ok_or("there is no segmentation")?;
    let labels = reader.read(label).map_err(|error| error.to_string())?.volume;
    let boxes = boxes_of_labels(&labels);
    let is_foreground = foreground(&labels, classes);
    let mut intensities = Vec::new();
    let mut spacing = SpacingMm::UNIT;
    for path in &case.images {
        // One file after the other, so that one is in memory at a time.
        let image = reader.read_channels(path).map_err(|error| error.to_string())?;
        if image.data.shape() != labels.shape() {
            return Err(format!(
                "{}: shape {:?} (z, y, x), but {} has {:?}",
                path.display(),
                image.data.shape(),
                label.display(),
                labels.shape()
            ));
        }
        if intensities.is_empty() {
            spacing = image.geometry.spacing_zyx();
        }
        intensities
            .extend((0..image.data.channels()).map(|c| mean_of(image.data.channel(c), &is_foreground)));
    }
    let voxel_ml = voxel_ml(spacing);
    let of_class = |class: &LabelOrRegion| {
        let Some(mask) = mask_of(class, &labels, &boxes) else { return ClassSurvey::default() };
        let voxels = mask.data().iter().filter(|set| **set).count();
        let components = connected_components(&mask, Connectivity::Corner).list().len();
        ClassSurvey { voxels, ml: voxels as f64 * voxel_ml, components }
    };
    Ok(CaseSurvey {
        identifier: case.identifier.clone(),
        image: case.images.first().cloned().unwrap_or_default(),
        label: label.clone(),
        shape: labels.shape(),
        spacing,
        intensities,
        classes: classes.iter().map(of_class).collect(),
    })
}

/// The smallest box (z, y, x) that holds every voxel of a label, from its lowest to one more than its highest corner.
type LabelBox = [Range<usize>; 3];

/// The box of every label but 0. A case may have a hundred classes: looking for each in the whole volume would take minutes.
fn boxes_of_labels(labels: &Volume<f32>) -> BTreeMap<i32, LabelBox> {
    let [_, height, width] = labels.shape();
    let mut boxes: BTreeMap<i32, LabelBox> = BTreeMap::new();
    for (line, values) in labels.data().chunks(width.max(1)).enumerate() {
        let (z, y) = (line / height.max(1), line % height.max(1));
        let mut x = 0;
        // Labels come in runs.
        for run in values.chunk_by(|a, b| a == b) {
            let part = [z..z + 1, y..y + 1, x..x + run.len()];
            x += run.len();
            if run[0] as i32 != 0 {
                let whole = boxes.entry(run[0] as i32).or_insert_with(|| part.clone());
                *whole = joined(whole, &part);
            }
        }
    }
    boxes
}

/// The smallest box that holds both.
fn joined(a: &LabelBox, b: &LabelBox) -> LabelBox {
    std::array::from_fn(|axis| a[axis].start.min(b[axis].start)..a[axis].end.max(b[axis].end))
}

/// Where `class` is, within its box; `None` if it is nowhere.
fn mask_of(
    class: &LabelOrRegion,
    labels: &Volume<f32>,
    boxes: &BTreeMap<i32, LabelBox>,
) -> Option<Volume<bool>> {
    let of_values = class.values().iter().filter_map(|value| boxes.get(value)).cloned();
    let [zs, ys, xs] = of_values.reduce(|a, b| joined(&a, &b))?;
    let shape = [zs.len(), ys.len(), xs.len()];
    let mut mask = Vec::with_capacity(shape.iter().product());
    for z in zs {
        for y in ys.clone() {
            let row = labels.index(z, y, xs.start)..labels.index(z, y, xs.end);
            mask.extend(labels.data()[row].iter().map(|value| class.contains(*value as i32)));
        }
    }
    Volume::new(shape, mask)
}

/// The voxels that have one of the classes.
fn foreground(labels: &Volume<f32>, classes: &[LabelOrRegion]) -> Vec<bool> {
    let mut foreground = Vec::with_capacity(labels.data().len());
    for run in labels.data().chunk_by(|a, b| a == b) {
        let set = classes.iter().any(|class| class.contains(run[0] as i32));
        foreground.resize(foreground.len() + run.len(), set);
    }
    foreground
}

/// The mean of the finite values where `chosen` is set.
fn mean_of(values: &[f32], chosen: &[bool]) -> f64 {
    let counted = values.iter().zip(chosen).filter(|(value, chosen)| **chosen && value.is_finite());
    let (sum, count) = counted.fold((0.0, 0u64), |(sum, n), (value, _)| (sum + f64::from(*value), n + 1));
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nnunet_base::progress::{Cancel, Silent};
    use nnunet_dataset::cases::training_cases;
    use nnunet_dataset::image_formats;
    use nnunet_testkit::phantom::{NiftiFile, PhantomDataset, Voxels};

    use super::*;

    fn look(folder: &Path, cancel: &Cancel) -> Result<Survey, ReportError> {
        let json = DatasetJson::load(&folder.join("dataset.json")).unwrap();
        let cases = training_cases(folder, &json).unwrap();
        survey(&cases, &json, &image_formats(), Ctx::new(&Silent, cancel))
    }

    #[test]
    fn volumes_components_and_intensities_of_a_case() {
        let root = tempfile::tempdir().unwrap();
        let folder = PhantomDataset { cases: 3, ..Default::default() }.write(root.path(), "Dataset001_Balls");
        // Two voxels that share a corner and one apart; spacing 2 x 1 x 5 mm: 10 mm³ each.
        let mut labels = vec![0u8; 4 * 4 * 4];
        [0, 21, 63].iter().for_each(|voxel| labels[*voxel] = 1);
        let mut image = vec![7i16; 64];
        (image[0], image[21], image[63]) = (10, 20, 60);
        let spacing = [2.0, 1.0, 5.0];
        NiftiFile::new([4; 3], spacing, Voxels::U8(labels)).write(folder.join("labelsTr/ball_001.nii.gz"));
        NiftiFile::new([4; 3], spacing, Voxels::I16(image))
            .write(folder.join("imagesTr/ball_001_0000.nii.gz"));
        std::fs::write(folder.join("labelsTr/ball_002.nii.gz"), b"no image").unwrap();

        let found = look(&folder, &Cancel::new()).unwrap();
        assert_eq!(found.cases.len(), 2);
        let case = &found.cases[1];
        assert_eq!(
            (case.identifier.as_str(), case.shape, case.spacing),
            ("ball_001", [4; 3], SpacingMm::new([2.0, 1.0, 5.0]))
        );
        assert_eq!((case.classes[0].voxels, case.classes[0].components), (3, 2));
        assert!((case.classes[0].ml - 0.03).abs() < 1e-12);
        assert_eq!(case.intensities, [30.0]);
        assert_eq!(found.unreadable.len(), 1);
        assert!(found.unreadable[0].1.contains("ball_002.nii.gz"), "{:?}", found.unreadable);

        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(look(&folder, &cancel), Err(ReportError::Interrupted(_))));
    }
}

//! Checking a raw dataset: every fault of every case at once, not only the first.
//!
//! What is an error and what a warning follows the reference's integrity check: shapes, spacings (1e-5
//! relative), labels and file names must be right; differing origins and directions are worth a look.
//! Voxels that are NaN or infinite are an error, unless the reader makes zeros of them. Cases are checked in parallel,
//! one image per worker in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_image_io::ImageWarning;
use nnunet_volume::VolumeError;
use rayon::prelude::*;

use super::cases::{Case, channel_of, discover, files_with_ending, found_training_cases};
pub use super::fault::{Fault, Problem, Report, Severity};
use super::image_geometry::ImageGeometry;
use super::json::LabelValue;
use super::non_finite::NonFinite;
use super::patients::Patients;
use super::placement::{Displacement, displacements};
use super::reader::{ImageFormats, ImageReader, ReadImage, image_ending};
use super::spacing_files::ManyMissing;
use super::{DatasetJson, LabelManager};
use nnunet_base::Ctx;
use nnunet_base::one_case::{Panicked, one_case};
use nnunet_base::progress::{Event, Silent};

/// Checks the raw dataset in `folder`: dataset.json, the files of all training cases, their content.
/// `variables` are those of the environment, for the paths in dataset.json; `formats` those that images may have.
pub fn verify(
    folder: &Path,
    variables: impl Fn(&str) -> Option<String>,
    formats: &ImageFormats,
    ctx: Ctx<'_>,
) -> Report {
    let mut report = Report::default();
    let path = folder.join("dataset.json");
    match DatasetJson::load(&path) {
        Err(error) => report.add(path, Problem::Dataset(error)),
        Ok(mut json) => {
            json.expand_variables(variables);
            verify_dataset(folder, &json, formats, &mut report, ctx);
            report.json = Some(json);
        }
    }
    report
}

fn verify_dataset(
    folder: &Path,
    json: &DatasetJson,
    formats: &ImageFormats,
    report: &mut Report,
    ctx: Ctx<'_>,
) {
    if (0..json.num_channels()).any(|c| !json.channel_names.contains_key(&c.to_string())) {
        let keys: Vec<_> = json.channel_names.keys().map(|key| format!("{key:?}")).collect();
        report.add(json.path(), Problem::ChannelNames { found: keys.join(", ") });
    }
    let labels = match LabelManager::new(json) {
        Err(error) => {
            report.add(json.path(), Problem::Dataset(error));
            None
        }
        Ok(manager) => {
            let values: Vec<i32> = manager.declared();
            if values.iter().zip(0..).any(|(value, place)| *value != place) {
                report.add(json.path(), Problem::LabelGaps { found: values.clone() });
            }
            Some(values)
        }
    };
    let found = found_training_cases(folder, json, &Silent);
    let example = found.as_ref().ok().and_then(|cases| cases.first()?.images.first());
    let reader = match ImageReader::for_example(formats, json, example.map(PathBuf::as_path)) {
        Ok(reader) => Some(reader),
        Err(error) => {
            report.add(json.path(), Problem::Dataset(error));
            None
        }
    };
    let cases = match found {
        Ok(cases) => cases,
        Err(error) => {
            report.add(folder, Problem::Dataset(error));
            return;
        }
    };
    report.cases = cases.len();
    match json.num_training {
        None => report.add(json.path(), Problem::NumTrainingMissing { found: cases.len() }),
        Some(stated) if stated != cases.len() => {
            report.add(json.path(), Problem::NumTraining { stated, found: cases.len() });
        }
        Some(_) => {}
    }
    check_patients(folder, &cases, report);
    check_annotated_cases(json, &cases, report);
    if json.dataset.is_none() {
        check_strays(folder, json, &cases, report);
    }
    let Some(reader) = reader else { return };

    ctx.event(Event::Started { stage: "verify", total: cases.len() as u64 });
    let done = AtomicU64::new(0);
    let faults: Vec<Option<Vec<Fault>>> = cases
        .par_iter()
        .map(|case| {
            if ctx.is_cancelled() {
                return None;
            }
            let mut check = CaseCheck { case, faults: Vec::new() };
            let run = one_case(|| {
                check.run(json, &reader, labels.as_deref());
                Ok::<_, Panicked>(())
            });
            if let Err(panicked) = run {
                let path = case.images.first().map_or(folder, PathBuf::as_path);
                check.add(path, Problem::Panicked(panicked));
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ctx.event(Event::Advanced { done, detail: &case.identifier });
            Some(check.faults)
        })
        .collect();
    ctx.event(Event::Finished);
    for faults in faults {
        match faults {
            Some(faults) => report.faults.extend(faults),
            None => report.interrupted = true,
        }
    }
    sum_up_missing_spacing_files(&cases, report);
}

/// Makes one row of the missing spacing files of a dataset that has more than a few.
fn sum_up_missing_spacing_files(cases: &[Case], report: &mut Report) {
    fn of(fault: &Fault) -> Option<&ImageWarning> {
        match &fault.problem {
            Problem::Unusual(warning @ ImageWarning::NoSpacingFile { .. }) => Some(warning),
            _ => None,
        }
    }
    let missing: Vec<(&Path, &ImageWarning)> =
        report.faults.iter().filter_map(|fault| Some((fault.path.as_path(), of(fault)?))).collect();
    let files = cases.iter().map(|case| case.images.len() + usize::from(case.label.is_some())).sum();
    if let Some(many) = ManyMissing::instead_of(&missing, files) {
        report.faults.retain(|fault| of(fault).is_none());
        report.add(many.folder.clone(), Problem::MissingSpacingFiles(many));
    }
}

/// Patients, if any are named, must be those of all cases: training stops at others when it makes the folds.
fn check_patients(folder: &Path, cases: &[Case], report: &mut Report) {
    let identifiers: Vec<String> = cases.iter().map(|case| case.identifier.clone()).collect();
    let checked = Patients::load(folder)
        .and_then(|patients| patients.map_or(Ok(()), |patients| patients.groups(&identifiers).map(drop)));
    if let Err(error) = checked {
        report.add(folder, Problem::Dataset(error));
    }
}

/// A misspelt case would count as one in which everything was annotated.
fn check_annotated_cases(json: &DatasetJson, cases: &[Case], report: &mut Report) {
    let named = json.annotated_labels.iter().flat_map(|annotated| annotated.cases.keys());
    let unknown: Vec<&str> = named
        .map(String::as_str)
        .filter(|name| !cases.iter().any(|case| case.identifier == *name))
        .take(Problem::SHOWN_LABELS)
        .collect();
    if !unknown.is_empty() {
        report.add(json.path(), Problem::UnknownAnnotatedCases { found: unknown.join(", ") });
    }
}

/// Files in imagesTr and labelsTr that belong to no case.
fn check_strays(folder: &Path, json: &DatasetJson, cases: &[Case], report: &mut Report) {
    if let Ok(found) = discover(&folder.join("imagesTr"), &json.file_ending) {
        for path in found.without_channel {
            report.add(path, Problem::NoChannelInName);
        }
        for path in found.broken_links {
            report.add(path, Problem::BrokenLink);
        }
        for path in found.not_unicode {
            report.add(path, Problem::NotUnicode);
        }
        for path in found.other_endings {
            let ending = image_ending(&path).unwrap_or_default().to_owned();
            report.add(path, Problem::OtherEnding { found: ending, expected: json.file_ending.clone() });
        }
    }
    let labels = folder.join("labelsTr");
    match files_with_ending(&labels, &json.file_ending) {
        Err(error) => report.add(labels, Problem::Dataset(error)),
        Ok(files) => {
            let known: BTreeSet<&Path> = cases.iter().filter_map(|case| case.label.as_deref()).collect();
            for path in files.into_iter().filter(|path| !known.contains(path.as_path())) {
                report.add(path, Problem::LabelWithoutImage);
            }
        }
    }
}

/// The check of one case.
struct CaseCheck<'a> {
    case: &'a Case,
    faults: Vec<Fault>,
}

/// The first readable image of a case: all other files are compared to it.
struct Grid<'a> {
    path: &'a Path,
    shape: [usize; 3],
    geometry: ImageGeometry,
}

impl<'a> CaseCheck<'a> {
    fn add(&mut self, path: &Path, problem: Problem) {
        self.faults.push(Fault { case: Some(self.case.identifier.clone()), path: path.to_owned(), problem });
    }

    fn run(&mut self, json: &DatasetJson, reader: &ImageReader, labels: Option<&[i32]>) {
        let case = self.case;
        // Colours are channels of one file.
        let in_colour = reader.format().channels_are_colours();
        if !in_colour {
            self.check_channels(json);
        }
        let mut channels = 0;
        let mut grid: Option<Grid<'a>> = None;
        for path in &case.images {
            if path.is_symlink() && !path.exists() {
                self.add(path, Problem::BrokenLink);
                continue;
            }
            if !path.is_file() {
                // Only listed files can be absent; the others were found by listing.
                let channel = case.images.iter().position(|p| p == path).unwrap_or(0);
                self.add(path, Problem::MissingChannel { channel });
                continue;
            }
            let image = reader.read_channels(path);
            let warnings = image.as_ref().map(|image| image.warnings.as_slice()).unwrap_or_default();
            self.note(path, warnings);
            let Some(image) = self.readable(path, image) else { continue };
            if reader.may_have_non_finite(&image.warnings) {
                for channel in 0..image.data.channels() {
                    self.check_finite(path, image.data.channel(channel), image.data.shape());
                }
            }
            channels += image.data.channels();
            let (shape, geometry) = (image.data.shape(), image.geometry);
            match &grid {
                Some(grid) => self.compare(path, shape, &geometry, grid),
                None => grid = Some(Grid { path, shape, geometry }),
            }
        }
        let expected = json.num_channels();
        if let Some(grid) = grid.as_ref().filter(|_| in_colour && channels != expected) {
            self.add(grid.path, Problem::Channels { found: channels, expected });
        }
        let Some(label) = &case.label else { return };
        if !label.is_file() {
            let broken = label.is_symlink() && !label.exists();
            self.add(label, if broken { Problem::BrokenLink } else { Problem::ImageWithoutLabel });
            return;
        }
        let image = reader.read(label);
        let warnings = image.as_ref().map(|image| image.warnings.as_slice()).unwrap_or_default();
        self.note(label, warnings);
        let Some(image) = self.readable(label, image) else { return };
        if reader.may_have_non_finite(&image.warnings) {
            self.check_finite(label, image.volume.data(), image.volume.shape());
        }
        if let Some(grid) = &grid {
            self.compare(label, image.volume.shape(), &image.geometry, grid);
        }
        if let Some(expected) = labels {
            self.check_labels(label, &image, expected);
        }
        if let Some(names) = json.annotated_in(&case.identifier) {
            self.check_annotated(label, &image, names, json);
        }
    }

    fn check_channels(&mut self, json: &DatasetJson) {
        let case = self.case;
        let channels = json.num_channels();
        if json.dataset.is_some() {
            let (found, expected) = (case.images.len() + case.absent.len(), channels);
            if found != expected {
                self.add(json.path(), Problem::ListedChannels { found, expected });
            }
            return;
        }
        let present: BTreeSet<usize> =
            case.images.iter().filter_map(|path| channel_of(path, &json.file_ending)).collect();
        let folder = case.images.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        for channel in 0..channels {
            if !present.contains(&channel) && !json.optional_channels.contains(&channel) {
                let name = format!("{}_{channel:04}{}", case.identifier, json.file_ending);
                self.add(&folder.join(name), Problem::MissingChannel { channel });
            }
        }
        for path in &case.images {
            if let Some(channel) = channel_of(path, &json.file_ending)
                && channel >= channels
            {
                self.add(path, Problem::ExtraChannel { channel, channels });
            }
        }
    }

    fn readable<T>(&mut self, path: &Path, image: Result<T, VolumeError>) -> Option<T> {
        image.map_err(|error| self.add(path, Problem::Unreadable(error))).ok()
    }

    fn check_finite(&mut self, path: &Path, voxels: &[f32], shape: [usize; 3]) {
        if let Some(found) = NonFinite::in_channel(voxels, shape) {
            self.add(path, Problem::NonFinite { found });
        }
    }

    fn note(&mut self, path: &Path, warnings: &[ImageWarning]) {
        // Voxels that are still not finite are looked for in the image itself.
        let kept =
            |warning: &&ImageWarning| matches!(warning, ImageWarning::NonFiniteVoxels { zeroed: false, .. });
        for warning in warnings.iter().filter(|warning| !kept(warning)) {
            self.add(path, Problem::Unusual(warning.clone()));
        }
    }

    fn compare(&mut self, path: &Path, shape: [usize; 3], geometry: &ImageGeometry, grid: &Grid<'_>) {
        let other = grid.path.to_owned();
        if shape != grid.shape {
            self.add(path, Problem::Shape { found: shape, other: other.clone(), expected: grid.shape });
        }
        for displacement in displacements(geometry, &grid.geometry) {
            let other = other.clone();
            self.add(
                path,
                match displacement {
                    Displacement::Spacing { found, expected } => Problem::Spacing { found, other, expected },
                    Displacement::Origin { found, expected } => Problem::Origin { found, other, expected },
                    Displacement::Direction { found, expected } => {
                        Problem::Direction { found, other, expected }
                    }
                    Displacement::Affine { found, expected } => Problem::Affine { found, other, expected },
                },
            );
        }
    }

    /// Labels of what was not annotated are probably a mistake in `annotated_labels`.
    fn check_annotated(&mut self, path: &Path, image: &ReadImage, names: &[String], json: &DatasetJson) {
        let values = |name: &str| json.labels.get(name).map(LabelValue::values).unwrap_or_default();
        let allowed: Vec<i32> = names
            .iter()
            .map(String::as_str)
            .chain(["background", "ignore"])
            .flat_map(values)
            .copied()
            .collect();
        let declared: Vec<i32> = json.labels.values().flat_map(LabelValue::values).copied().collect();
        let mut found = BTreeSet::new();
        for value in image.volume.data().iter().map(|&value| value as i32) {
            if !allowed.contains(&value) && declared.contains(&value) {
                found.insert(value);
            }
        }
        if !found.is_empty() {
            let found = found.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
            let annotated = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            self.add(path, Problem::UnannotatedLabels { found, annotated });
        }
    }

    fn check_labels(&mut self, path: &Path, image: &ReadImage, expected: &[i32]) {
        let mut unexpected = BTreeSet::new();
        let mut fractions = 0;
        let mut fraction = None;
        let mut foreground = false;
        for &value in image.volume.data() {
            foreground |= value > 0.0;
            let whole = value as i32;
            if whole as f32 != value {
                fractions += 1;
                fraction = fraction.or(Some(value));
            } else if !expected.contains(&whole) && unexpected.len() <= Problem::SHOWN_LABELS {
                unexpected.insert(whole);
            }
        }
        if let Some(example) = fraction {
            self.add(path, Problem::NonIntegerLabels { count: fractions, example });
        } else if !image.stored_type.is_integer() {
            self.add(path, Problem::RealLabels { stored: image.stored_type });
        }
        if !unexpected.is_empty() {
            self.add(path, Problem::unexpected_labels(&unexpected, expected));
        }
        if !foreground {
            self.add(path, Problem::OnlyBackground);
        }
    }
}

//! Checking a raw dataset: every fault of every case at once, not only the first.
//!
//! What is an error and what a warning follows the reference's integrity check: shapes, spacings (1e-5
//! relative), labels and file names must be right; differing origins and directions are worth a look.
//! Voxels that are NaN or infinite are an error. Cases are checked in parallel, one image per worker in
//! memory.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nnunet_volume::{Geometry, Image, ImageWarning, VolumeError};
use rayon::prelude::*;

use super::cases::{Case, channel_of, discover, files_with_ending, training_cases};
use super::reader::{ImageReader, close};
use super::{DatasetError, DatasetJson, LabelManager};
use crate::progress::{Cancel, Event, Progress};

/// How many differing values or names a message lists.
const SHOWN: usize = 10;

/// Whether a fault keeps a dataset from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It must be repaired.
    Error,
    /// It may be intended.
    Warning,
}

/// One fault of a dataset.
#[derive(Debug)]
pub struct Fault {
    /// The case, if it is about one.
    pub case: Option<String>,
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// dataset.json or the folders cannot be used at all.
    #[error("{0}")]
    Dataset(DatasetError),
    /// dataset.json has no `numTraining`.
    #[error("key \"numTraining\" is missing; expected the number of training cases, {found}")]
    NumTrainingMissing {
        /// Cases found.
        found: usize,
    },
    /// `numTraining` is not the number of cases.
    #[error("numTraining is {stated}, but there are {found} cases")]
    NumTraining {
        /// What dataset.json says.
        stated: usize,
        /// Cases found.
        found: usize,
    },
    /// Keys of `channel_names` are not 0, 1, 2, ...
    #[error("channel_names has the keys {found}; expected \"0\", \"1\", ... without gaps")]
    ChannelNames {
        /// The keys.
        found: String,
    },
    /// Label values have gaps.
    #[error("the label values are {found:?}; they must be 0, 1, 2, ... without gaps, ignore last")]
    LabelGaps {
        /// All values, sorted.
        found: Vec<i32>,
    },
    /// A channel of a case has no file.
    #[error("channel {channel} is missing: no such file")]
    MissingChannel {
        /// The channel.
        channel: usize,
    },
    /// A case has a file for a channel that dataset.json has not.
    #[error("channel {channel} is not declared: dataset.json has {channels} channels")]
    ExtraChannel {
        /// The channel.
        channel: usize,
        /// Channels declared.
        channels: usize,
    },
    /// A case listed in dataset.json has another number of images than there are channels.
    #[error("{found} images are listed, but dataset.json has {expected} channels")]
    ListedChannels {
        /// Images listed.
        found: usize,
        /// Channels declared.
        expected: usize,
    },
    /// An image has no segmentation.
    #[error("the image has no label: no such file")]
    ImageWithoutLabel,
    /// A segmentation has no image.
    #[error("the label has no image: no file named CASE_0000 in imagesTr")]
    LabelWithoutImage,
    /// A file whose name has no channel.
    #[error("the name has no channel (_0000 before the file ending); the file is not used")]
    NoChannelInName,
    /// A file cannot be read: not of its format, truncated, 4-D, no voxels, ...
    #[error("{0}")]
    Unreadable(VolumeError),
    /// Voxels that are no numbers.
    #[error("{count} voxels are NaN or infinite; replace them by a value that makes sense for the image")]
    NonFinite {
        /// How many.
        count: u64,
    },
    /// Something unusual that the reader can deal with.
    #[error("{0}")]
    Unusual(ImageWarning),
    /// Another shape than the first channel.
    #[error("shape {found:?} (z, y, x), but {other} has {expected:?}", other = other.display())]
    Shape {
        /// Shape of the file.
        found: [usize; 3],
        /// The first channel.
        other: PathBuf,
        /// Its shape.
        expected: [usize; 3],
    },
    /// Another spacing than the first channel.
    #[error("spacing {found:?} mm (z, y, x), but {other} has {expected:?}", other = other.display())]
    Spacing {
        /// Spacing of the file.
        found: [f64; 3],
        /// The first channel.
        other: PathBuf,
        /// Its spacing.
        expected: [f64; 3],
    },
    /// Another origin than the first channel.
    #[error("origin {found:?} mm (x, y, z), but {other} has {expected:?}; check that they overlap", other = other.display())]
    Origin {
        /// Origin of the file.
        found: [f64; 3],
        /// The first channel.
        other: PathBuf,
        /// Its origin.
        expected: [f64; 3],
    },
    /// Another direction than the first channel.
    #[error("direction {found:?}, but {other} has {expected:?}; check that they overlap", other = other.display())]
    Direction {
        /// Direction of the file, row-major.
        found: [f64; 9],
        /// The first channel.
        other: PathBuf,
        /// Its direction.
        expected: [f64; 9],
    },
    /// Label values that dataset.json does not declare.
    #[error("has the values {found}, which dataset.json does not declare; expected {expected:?}")]
    UnexpectedLabels {
        /// The values.
        found: String,
        /// Declared values.
        expected: Vec<i32>,
    },
    /// Label values that are no integers.
    #[error("{count} voxels are not integers, e.g. {example}; was the label resampled with interpolation?")]
    NonIntegerLabels {
        /// How many voxels.
        count: u64,
        /// One of the values.
        example: f32,
    },
    /// A segmentation without any foreground.
    #[error("has no foreground at all")]
    OnlyBackground,
}

impl Problem {
    /// Whether it must be repaired.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoChannelInName
            | Self::Unusual(_)
            | Self::Origin { .. }
            | Self::Direction { .. }
            | Self::OnlyBackground => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.problem.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: ")?;
        if let Some(case) = &self.case {
            write!(f, "case {case}: ")?;
        }
        let problem = self.problem.to_string();
        // Errors of files name them already.
        let path = self.path.display().to_string();
        if problem.starts_with(&path) { f.write_str(&problem) } else { write!(f, "{path}: {problem}") }
    }
}

/// What a check has found.
#[derive(Debug, Default)]
pub struct Report {
    /// Training cases looked at.
    pub cases: usize,
    /// All faults: of the dataset, then of the cases in their order.
    pub faults: Vec<Fault>,
    /// Whether the check was interrupted, so that faults may be missing.
    pub interrupted: bool,
}

impl Report {
    /// Whether the dataset can be used: no errors, and everything was looked at.
    pub fn is_usable(&self) -> bool {
        !self.interrupted && self.errors() == 0
    }

    /// Number of faults that must be repaired.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.problem.severity() == Severity::Error).count()
    }

    fn add(&mut self, path: impl Into<PathBuf>, problem: Problem) {
        self.faults.push(Fault { case: None, path: path.into(), problem });
    }
}

/// Checks the raw dataset in `folder`: dataset.json, the files of all training cases, their content.
pub fn verify(folder: &Path, progress: &dyn Progress, cancel: &Cancel) -> Report {
    let mut report = Report::default();
    let path = folder.join("dataset.json");
    match DatasetJson::load(&path) {
        Err(error) => report.add(path, Problem::Dataset(error)),
        Ok(json) => verify_dataset(folder, &json, &mut report, progress, cancel),
    }
    report
}

fn verify_dataset(
    folder: &Path,
    json: &DatasetJson,
    report: &mut Report,
    progress: &dyn Progress,
    cancel: &Cancel,
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
            let values: Vec<i32> =
                manager.all_labels().iter().copied().chain(manager.ignore_label()).collect();
            if values.iter().zip(0..).any(|(value, place)| *value != place) {
                report.add(json.path(), Problem::LabelGaps { found: values.clone() });
            }
            Some(values)
        }
    };
    let reader = match ImageReader::for_dataset(json) {
        Ok(reader) => Some(reader),
        Err(error) => {
            report.add(json.path(), Problem::Dataset(error));
            None
        }
    };
    let cases = match training_cases(folder, json) {
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
    if json.dataset.is_none() {
        check_strays(folder, json, &cases, report);
    }
    let Some(reader) = reader else { return };

    progress.event(Event::Started { stage: "verify", total: cases.len() as u64 });
    let done = AtomicU64::new(0);
    let faults: Vec<Option<Vec<Fault>>> = cases
        .par_iter()
        .map(|case| {
            if cancel.is_cancelled() {
                return None;
            }
            let mut check = CaseCheck { case, faults: Vec::new() };
            check.run(json, reader, labels.as_deref());
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress.event(Event::Advanced { done, detail: &case.identifier });
            Some(check.faults)
        })
        .collect();
    progress.event(Event::Finished);
    for faults in faults {
        match faults {
            Some(faults) => report.faults.extend(faults),
            None => report.interrupted = true,
        }
    }
}

/// Files in imagesTr and labelsTr that belong to no case.
fn check_strays(folder: &Path, json: &DatasetJson, cases: &[Case], report: &mut Report) {
    if let Ok(found) = discover(&folder.join("imagesTr"), &json.file_ending) {
        for path in found.without_channel {
            report.add(path, Problem::NoChannelInName);
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
    geometry: Geometry,
}

impl<'a> CaseCheck<'a> {
    fn add(&mut self, path: &Path, problem: Problem) {
        self.faults.push(Fault { case: Some(self.case.identifier.clone()), path: path.to_owned(), problem });
    }

    fn run(&mut self, json: &DatasetJson, reader: ImageReader, labels: Option<&[i32]>) {
        let case = self.case;
        self.check_channels(json);
        let mut grid: Option<Grid<'a>> = None;
        for path in &case.images {
            if !path.is_file() {
                // Only listed files can be absent; the others were found by listing.
                let channel = case.images.iter().position(|p| p == path).unwrap_or(0);
                self.add(path, Problem::MissingChannel { channel });
                continue;
            }
            let Some(image) = self.read(path, reader) else { continue };
            match &grid {
                Some(grid) => self.compare(path, &image, grid),
                None => grid = Some(Grid { path, shape: image.volume.shape(), geometry: image.geometry }),
            }
        }
        let Some(label) = &case.label else { return };
        if !label.is_file() {
            self.add(label, Problem::ImageWithoutLabel);
            return;
        }
        let Some(image) = self.read(label, reader) else { return };
        if let Some(grid) = &grid {
            self.compare(label, &image, grid);
        }
        if let Some(expected) = labels {
            self.check_labels(label, &image, expected);
        }
    }

    fn check_channels(&mut self, json: &DatasetJson) {
        let case = self.case;
        let channels = json.num_channels();
        if json.dataset.is_some() {
            let (found, expected) = (case.images.len(), channels);
            if found != expected {
                self.add(json.path(), Problem::ListedChannels { found, expected });
            }
            return;
        }
        let present: BTreeSet<usize> =
            case.images.iter().filter_map(|path| channel_of(path, &json.file_ending)).collect();
        let folder = case.images.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        for channel in 0..channels {
            if !present.contains(&channel) {
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

    fn read(&mut self, path: &Path, reader: ImageReader) -> Option<Image> {
        match reader.read(path) {
            Err(error) => {
                self.add(path, Problem::Unreadable(error));
                None
            }
            Ok(image) => {
                for warning in &image.warnings {
                    let problem = match warning {
                        ImageWarning::NonFiniteVoxels { count } => Problem::NonFinite { count: *count },
                        other => Problem::Unusual(other.clone()),
                    };
                    self.add(path, problem);
                }
                Some(image)
            }
        }
    }

    fn compare(&mut self, path: &Path, image: &Image, grid: &Grid<'_>) {
        let other = grid.path.to_owned();
        let (found, expected) = (image.volume.shape(), grid.shape);
        if found != expected {
            self.add(path, Problem::Shape { found, other: other.clone(), expected });
        }
        let (a, b) = (image.geometry, grid.geometry);
        let (found, expected) = (a.spacing_zyx(), b.spacing_zyx());
        if !close(&found, &expected) {
            self.add(path, Problem::Spacing { found, other: other.clone(), expected });
        }
        if !close(&a.origin, &b.origin) {
            self.add(path, Problem::Origin { found: a.origin, other: other.clone(), expected: b.origin });
        }
        if !close(&a.direction, &b.direction) {
            self.add(path, Problem::Direction { found: a.direction, other, expected: b.direction });
        }
    }

    fn check_labels(&mut self, path: &Path, image: &Image, expected: &[i32]) {
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
            } else if !expected.contains(&whole) && unexpected.len() <= SHOWN {
                unexpected.insert(whole);
            }
        }
        if let Some(example) = fraction {
            self.add(path, Problem::NonIntegerLabels { count: fractions, example });
        }
        if !unexpected.is_empty() {
            let mut found: Vec<_> = unexpected.iter().take(SHOWN).map(i32::to_string).collect();
            if unexpected.len() > SHOWN {
                found.push("...".into());
            }
            self.add(
                path,
                Problem::UnexpectedLabels { found: found.join(", "), expected: expected.to_vec() },
            );
        }
        if !foreground {
            self.add(path, Problem::OnlyBackground);
        }
    }
}

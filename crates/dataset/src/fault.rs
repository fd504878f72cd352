//! What can be wrong with a dataset: single faults and the report of all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use nnunet_image_io::nifti::nibabel::Affine;
use nnunet_image_io::{ImageWarning, VoxelType};
use nnunet_volume::{SpacingMm, VolumeError};

use super::spacing_files::ManyMissing;
use super::{DatasetError, DatasetJson, NonFinite};
use nnunet_base::one_case::Panicked;

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
    Dataset(#[source] DatasetError),
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
    #[error(
        "channel_names has the keys {found}; expected \"0\", \"1\", ... without gaps. The channels are taken in the order \
         of the file"
    )]
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
    #[error("the label has no image: no file named CASE_0000 in imagesTr; it is not used")]
    LabelWithoutImage,
    /// A file whose name has no channel.
    #[error("the name has no channel (_0000 before the file ending); the file is not used")]
    NoChannelInName,
    /// A link to a file that does not exist.
    #[error("a link to a file that does not exist; the case is not used without it")]
    BrokenLink,
    /// A file whose name is not valid UTF-8.
    #[error("the name is not valid UTF-8; the file is not used: rename it")]
    NotUnicode,
    /// An image with another ending than the dataset's.
    #[error("the ending is {found}, but dataset.json has {expected}; the file is not used")]
    OtherEnding {
        /// The file's ending.
        found: String,
        /// The dataset's.
        expected: String,
    },
    /// The check itself has panicked.
    #[error("{0}")]
    Panicked(Panicked),
    /// A file cannot be read: not of its format, truncated, 4-D, no voxels, ...
    #[error("{0}")]
    Unreadable(VolumeError),
    /// Voxels that are no numbers.
    #[error("{found}; replace them by a value that makes sense for the image")]
    NonFinite {
        /// The voxels.
        found: NonFinite,
    },
    /// Something unusual that the reader can deal with.
    #[error("{0}")]
    Unusual(ImageWarning),
    /// Many images without the file that says their spacing.
    #[error("{0}")]
    MissingSpacingFiles(ManyMissing),
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
        found: SpacingMm,
        /// The first channel.
        other: PathBuf,
        /// Its spacing.
        expected: SpacingMm,
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
    /// Another affine than the first channel.
    #[error("affine {found:?}, but {other} has {expected:?}; check that they overlap", other = other.display())]
    Affine {
        /// Affine of the file.
        found: Affine,
        /// The first channel.
        other: PathBuf,
        /// Its affine.
        expected: Affine,
    },
    /// The images of a case have another number of channels than dataset.json.
    #[error("its images have {found} channels, but dataset.json has {expected}")]
    Channels {
        /// Channels of all images together.
        found: usize,
        /// Channels declared.
        expected: usize,
    },
    /// Label values that dataset.json does not declare.
    #[error("has the values {found}, which dataset.json does not declare; expected {expected:?}")]
    UnexpectedLabels {
        /// The values.
        found: String,
        /// Declared values.
        expected: Vec<i32>,
    },
    /// Labels in a case that has others annotated.
    #[error(
        "has the values {found}, but annotated_labels says that only {annotated} was annotated; they count as background"
    )]
    UnannotatedLabels {
        /// The values.
        found: String,
        /// Names of what was annotated.
        annotated: String,
    },
    /// `annotated_labels` names cases that are not there.
    #[error("annotated_labels names cases that do not exist: {found}")]
    UnknownAnnotatedCases {
        /// The first of them.
        found: String,
    },
    /// Label values that are no integers.
    #[error("{count} voxels are not integers, e.g. {example}; was the label resampled with interpolation?")]
    NonIntegerLabels {
        /// How many voxels.
        count: u64,
        /// One of the values.
        example: f32,
    },
    /// Label values that are integers but stored as real numbers.
    #[error("labels are stored as {stored:?}; integers take less room and are what other programs expect")]
    RealLabels {
        /// Type of the voxels in the file.
        stored: VoxelType,
    },
    /// A segmentation without any foreground.
    #[error("has no foreground at all")]
    OnlyBackground,
}

impl Problem {
    /// Labels that are named one by one.
    pub(super) const SHOWN_LABELS: usize = 10;

    /// [`Self::UnexpectedLabels`] for the values `found` where `expected` are declared.
    pub fn unexpected_labels(found: &BTreeSet<i32>, expected: &[i32]) -> Self {
        let mut names: Vec<String> = found.iter().take(Self::SHOWN_LABELS).map(i32::to_string).collect();
        if found.len() > Self::SHOWN_LABELS {
            names.push("...".to_owned());
        }
        Self::UnexpectedLabels { found: names.join(", "), expected: expected.to_vec() }
    }

    /// Whether it must be repaired.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoChannelInName
            | Self::NotUnicode
            | Self::OtherEnding { .. }
            | Self::ChannelNames { .. }
            | Self::LabelWithoutImage
            | Self::Unusual(_)
            | Self::MissingSpacingFiles(_)
            | Self::Origin { .. }
            | Self::Direction { .. }
            | Self::Affine { .. }
            | Self::RealLabels { .. }
            | Self::UnannotatedLabels { .. }
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
    /// dataset.json, if it can be read.
    pub(super) json: Option<DatasetJson>,
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

    pub(super) fn add(&mut self, path: impl Into<PathBuf>, problem: Problem) {
        self.faults.push(Fault { case: None, path: path.into(), problem });
    }
}

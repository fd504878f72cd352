//! What can go wrong while cases are preprocessed or preprocessed cases are read.

use std::path::{Path, PathBuf};

use nnunet_pyformats::pickle::PickleFileError;
use nnunet_volume::{SpacingMm, VolumeError};

use crate::normalization::NormalizationError;
use crate::plan::PlanError;
use nnunet_base::hint::Hint;
use nnunet_base::lock::{FolderInUse, LockError};
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::one_case::Panicked;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::{DatasetError, NonFinite, ReadError, channels_fault};

/// Errors of the preprocess stage. Each names the case or file, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// Images of a case cannot be read or do not fit together.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An image or array file cannot be read or written, or an image cannot be resampled.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A properties file cannot be read or written.
    #[error(transparent)]
    Pickle(#[from] PickleFileError),
    /// dataset.json, its labels or its cases.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Cases do not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// Another run works on the preprocessed cases.
    #[error(transparent)]
    InUse(#[from] FolderInUse),
    /// A file or folder could not be read, written or removed.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The work on a case has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The case has another number of channels than the plans.
    #[error("{}", channels_fault(files, *found, *expected))]
    Channels {
        /// The case.
        case: String,
        /// The files of its images, where they are known.
        files: Vec<PathBuf>,
        /// Channels of the case.
        found: usize,
        /// Channels of the plans.
        expected: usize,
    },
    /// Image and segmentation have different shapes.
    #[error("the segmentation has shape {segmentation:?} (z, y, x), the images have {images:?}")]
    SegmentationShape {
        /// The case.
        case: String,
        /// Shape (z, y, x) of the segmentation.
        segmentation: [usize; 3],
        /// Shape (z, y, x) of the images.
        images: [usize; 3],
    },
    /// A segmentation has values that are no labels.
    #[error("{path}: voxel {index:?} (z, y, x) has value {value}; labels are whole numbers from 0 to {largest}", path = path.display())]
    NotLabels {
        /// The file.
        path: PathBuf,
        /// The first such voxel (z, y, x).
        index: [usize; 3],
        /// Its value.
        value: f32,
        /// Largest label.
        largest: i16,
    },
    /// The plans ask for something this program does not have.
    #[error("{place}: {key} `{found}` is not known; known: {known}")]
    Unknown {
        /// The configuration.
        place: String,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What there is.
        known: String,
    },
    /// A channel cannot be normalised.
    #[error(transparent)]
    Normalization(#[from] NormalizationError),
    /// Normalisation made voxels that are no numbers.
    #[error(
        "channel {channel} after {scheme}: {found}, in the image cropped to its nonzero voxels. Check the intensities of          the image and those in the plans (foreground_intensity_properties_per_channel)"
    )]
    NonFinite {
        /// The channel.
        channel: usize,
        /// The scheme.
        scheme: String,
        /// The voxels, in the cropped image.
        found: NonFinite,
    },
    /// A case would vanish or explode at the target spacing.
    #[error(
        "{shape:?} voxels (z, y, x) at {from:?} mm would become {to:?} at {target:?} mm; check the spacing in the file's header"
    )]
    ResampledShape {
        /// Shape after cropping.
        shape: [usize; 3],
        /// Spacing of the case.
        from: SpacingMm,
        /// Shape after resampling.
        to: [usize; 3],
        /// Target spacing.
        target: SpacingMm,
    },
    /// The folder of a configuration's preprocessed cases does not exist.
    #[error(
        "{folder}: no such folder, the configuration has not been preprocessed; found: {there}", folder = folder.display()
    )]
    NotPreprocessed {
        /// The folder.
        folder: PathBuf,
        /// Folders of other configurations.
        there: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The plans have changed since the cases were preprocessed.
    #[error(
        "{folder}: case {case} was preprocessed with other plans than {plans} has now; different: {keys}. Preprocess the \
         configuration again, or restore the plans", folder = folder.display()
    )]
    OtherPlans {
        /// Folder of the preprocessed cases.
        folder: PathBuf,
        /// The first case that was made otherwise.
        case: String,
        /// Name of the plans.
        plans: String,
        /// What differs, by the keys of its record.
        keys: String,
    },
    /// A properties file lacks something.
    #[error("{path}: `{key}` {problem}; preprocess the case again", path = path.display())]
    Properties {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A case was preprocessed when dataset.json said something else of its annotations.
    #[error(
        "case {case}: preprocessed with these labels annotated: {found}; dataset.json says in annotated_labels: {expected}. \
         Preprocess the dataset again"
    )]
    Annotated {
        /// The case.
        case: String,
        /// What it was preprocessed with.
        found: String,
        /// What dataset.json says.
        expected: String,
    },
    /// A file of an older version of nnU-Net has no array that can be read.
    #[error("{path}: {problem}; expected a preprocessed case of nnU-Net. Preprocess the case again", path = path.display())]
    NotAnArray {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The arrays of a preprocessed case do not fit together.
    #[error("{path}: shape {found:?}, expected {expected}; preprocess the case again", path = path.display())]
    StoredShape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Vec<usize>,
        /// What belongs there.
        expected: String,
    },
    /// Some cases could not be preprocessed; all of them are named.
    #[error("{} of {total} cases could not be preprocessed:\n{}", .faults.len(), .faults.join("\n"))]
    Cases {
        /// One line per case.
        faults: Vec<String>,
        /// Number of cases.
        total: usize,
    },
    /// The user asked to stop.
    #[error("interrupted after {done} of {total} cases; the finished ones are complete and will be kept")]
    Interrupted {
        /// Finished cases.
        done: usize,
        /// Number of cases.
        total: usize,
        /// Why.
        source: Interrupted,
    },
}

impl From<LockError> for PreprocessError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse(error) => Self::InUse(error),
            LockError::Io { path, source } => Self::Io { path, action: "lock the folder", source },
        }
    }
}

impl PreprocessError {
    /// The same error with the files of the case, where it is about the case's images as a whole.
    pub fn naming(self, images: &[PathBuf]) -> Self {
        match self {
            Self::Channels { case, found, expected, .. } => {
                Self::Channels { case, files: images.to_vec(), found, expected }
            }
            other => other,
        }
    }

    pub(super) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

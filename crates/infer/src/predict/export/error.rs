//! Why a prediction could not be brought back to the grid of its image.

use nnunet_data::plan::PlanError;
use nnunet_volume::VolumeError;

/// Why a prediction could not be brought back.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plans keep every image on its grid, but the logits have another.
    #[error(
        "plans {plans}, configuration {configuration}: resampling_fn_probabilities keeps the grid, but the network's \
         has {from:?} voxels and the image {to:?} (z, y, x); expected that nothing is resampled in preprocessing either"
    )]
    GridKept {
        /// Name of the plans.
        plans: String,
        /// Name of the configuration.
        configuration: String,
        /// Shape of the logits.
        from: [usize; 3],
        /// Shape of the image.
        to: [usize; 3],
    },
    /// The logits do not fit the labels or the case.
    #[error("the network has {found} outputs, the labels need {expected}: model and dataset.json do not fit")]
    Heads {
        /// Channels of the logits.
        found: usize,
        /// Segmentation heads of the labels.
        expected: usize,
    },
    /// The properties name shapes that contradict each other.
    #[error(
        "the properties of the case are inconsistent: crop of {crop:?} in an image of {image:?} (z, y, x)"
    )]
    Shapes {
        /// Shape of the crop box.
        crop: [usize; 3],
        /// Shape before cropping.
        image: [usize; 3],
    },
    /// Resampling failed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

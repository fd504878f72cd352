//! What can go wrong while the augmentation is set up or applied.

use nnunet_base::parts::{OptionError, UnknownName};

/// Errors of the augmentation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// The plans ask for a patch that is neither 2-D nor 3-D, or that is empty.
    #[error(
        "patch size {found:?} of the configuration: expected two or three positive numbers; correct the plans file"
    )]
    PatchSize {
        /// Patch size as found.
        found: Vec<usize>,
    },
    /// A deep-supervision scale has another number of axes than the patch, or is not in (0, 1].
    #[error(
        "deep-supervision scale {found:?}: expected {axes} numbers above 0 and at most 1; correct pool_op_kernel_sizes or strides in the plans file"
    )]
    Scale {
        /// Scale as found.
        found: Vec<f64>,
        /// Number of axes of the patch.
        axes: usize,
    },
    /// Image and segmentation of a sample do not share one grid.
    #[error(
        "the image of a sample has shape {image:?} but its segmentation {segmentation:?}: preprocess the case again"
    )]
    Shapes {
        /// Shape of the image (z, y, x).
        image: [usize; 3],
        /// Shape of the segmentation (z, y, x).
        segmentation: [usize; 3],
    },
    /// A sample has fewer channels than the configuration says.
    #[error(
        "a sample has {found} {what} channels, expected {expected}: preprocess the case again with these plans"
    )]
    Channels {
        /// `image` or `segmentation`.
        what: &'static str,
        /// Channels found.
        found: usize,
        /// Channels expected.
        expected: usize,
    },
    /// An axis is to be mirrored that the patch does not have.
    #[error("mirroring along axis {axis}: the patch has axes 0 to {last}; correct the axes", last = axes - 1)]
    MirrorAxis {
        /// The axis.
        axis: usize,
        /// Number of axes of the patch.
        axes: usize,
    },
    /// A transform that has to be the last one is not.
    #[error(
        "transform {after} comes after {last}, which has to be the last one: move {last} to the end of the list"
    )]
    Order {
        /// The transform that has to be the last one.
        last: String,
        /// One that comes after it.
        after: String,
    },
    /// A transform or a list that does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// An option that a transform or a list does not take.
    #[error(transparent)]
    Options(#[from] OptionError),
}

//! How an image is resampled, as plans say it.

use super::axis::Interpolation;
use super::separate_axis::{ANISOTROPY_THRESHOLD, separate_axis};
use crate::SpacingMm;

/// A way of resampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// Along all axes where none is treated separately.
    pub together: Interpolation,
    /// Within the slices where an axis is treated separately.
    pub in_plane: Interpolation,
    /// Along the axis that is treated separately.
    pub across: Interpolation,
    /// Whether one axis is treated separately: always, never, or by the anisotropy of the spacing (`None`).
    pub force_separate: Option<bool>,
    /// Ratio of largest to smallest spacing above which an axis is treated separately.
    pub anisotropy_threshold: f64,
    /// For labels with PyTorch's interpolation: voxels where no label has more than half of the weight become 0,
    /// instead of taking the heaviest label.
    pub majority_only: bool,
}

impl Method {
    /// `in_plane` along all axes, or `across` along one that is coarse, if the spacing is anisotropic.
    pub fn new(in_plane: Interpolation, across: Interpolation) -> Self {
        Self {
            together: in_plane,
            in_plane,
            across,
            force_separate: None,
            anisotropy_threshold: ANISOTROPY_THRESHOLD,
            majority_only: false,
        }
    }

    /// Whether it is PyTorch's. The reference's PyTorch functions give f32 for f16; its splines give f16.
    pub fn is_torch(&self) -> bool {
        self.together.is_torch()
    }

    /// The axis that is treated separately between grids of these spacings (z, y, x) in mm.
    pub(super) fn separate_axis(&self, current_spacing: SpacingMm, new_spacing: SpacingMm) -> Option<usize> {
        separate_axis(self.force_separate, self.anisotropy_threshold, current_spacing, new_spacing)
    }
}

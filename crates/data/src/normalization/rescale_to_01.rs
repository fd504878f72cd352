//! RescaleTo01Normalization.

use super::voxels::{EPSILON, each, range};
use super::{Normalization, NormalizationError, NormalizationInput};

/// Smallest value to 0, largest to 1.
#[derive(Debug)]
pub(super) struct RescaleTo01;

impl Normalization for RescaleTo01 {
    fn channel_names(&self) -> &[&str] {
        &["rescale_to_0_1"]
    }

    fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        let (lowest, highest) = range(voxels);
        let width = (highest - lowest).max(EPSILON);
        each(voxels, |v| (v - lowest) / width);
        Ok(())
    }
}

//! RGBTo01Normalization.

use super::voxels::{each, range};
use super::{Normalization, NormalizationError, NormalizationInput};

/// Divides colours by 255.
#[derive(Debug)]
pub(super) struct RgbTo01;

impl Normalization for RgbTo01 {
    fn channel_names(&self) -> &[&str] {
        &["rgb_to_0_1"]
    }

    fn run(&self, voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        let (lowest, highest) = range(voxels);
        if lowest < 0.0 || highest > 255.0 {
            return Err(NormalizationError::NotRgb { channel: input.channel, lowest, highest });
        }
        each(voxels, |v| v / 255.0);
        Ok(())
    }
}

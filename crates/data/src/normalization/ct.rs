//! CTNormalization.

use super::voxels::{EPSILON, each};
use super::{Normalization, NormalizationError, NormalizationInput};

/// Clips to the 0.5th and 99.5th percentile of the dataset's foreground, then its mean and deviation.
#[derive(Debug)]
pub(super) struct Ct;

impl Normalization for Ct {
    fn channel_names(&self) -> &[&str] {
        &["ct"]
    }

    fn run(&self, voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        let Some(intensities) = input.intensities else {
            return Err(NormalizationError::NoIntensities { channel: input.channel });
        };
        let (lower, upper) = (intensities.percentile_00_5 as f32, intensities.percentile_99_5 as f32);
        let mean = intensities.mean as f32;
        let deviation = intensities.std.max(f64::from(EPSILON)) as f32;
        each(voxels, |v| (v.max(lower).min(upper) - mean) / deviation);
        Ok(())
    }
}

//! ZScoreNormalization.

use rayon::prelude::*;

use super::voxels::{PIECE, each, moments};
use super::{Normalization, NormalizationError, NormalizationInput};

/// Mean 0 and deviation 1 of the whole image, or of the voxels within the mask (those outside stay).
#[derive(Debug)]
pub(super) struct ZScore;

impl Normalization for ZScore {
    fn channel_names(&self) -> &[&str] {
        &[]
    }

    fn can_leave_outside(&self) -> bool {
        true
    }

    fn run(&self, voxels: &mut [f32], input: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        match input.mask {
            None => {
                let (mean, deviation) = moments(voxels, None);
                each(voxels, |v| (v - mean) / deviation);
            }
            Some(mask) => {
                let (mean, deviation) = moments(voxels, Some(mask));
                voxels.par_chunks_mut(PIECE).zip(mask.par_chunks(PIECE)).for_each(|(voxels, mask)| {
                    for (v, _) in voxels.iter_mut().zip(mask).filter(|(_, label)| **label >= 0) {
                        *v = (*v - mean) / deviation;
                    }
                });
            }
        }
        Ok(())
    }
}

//! NoNormalization.

use super::{Normalization, NormalizationError, NormalizationInput};

/// Leaves the voxels as they are.
#[derive(Debug)]
pub(super) struct Unchanged;

impl Normalization for Unchanged {
    fn channel_names(&self) -> &[&str] {
        &["nonorm"]
    }

    fn run(&self, _: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        Ok(())
    }
}

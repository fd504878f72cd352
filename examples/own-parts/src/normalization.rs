//! `MedianNormalization`: median 0 and interquartile range 1, which a few extreme voxels do not move.

use nnunet::normalization::{Normalization, NormalizationError, NormalizationInput};

/// The scheme, for channels called `robust` in dataset.json.
#[derive(Debug)]
pub(crate) struct MedianNormalization;

impl Normalization for MedianNormalization {
    fn channel_names(&self) -> &[&str] {
        &["robust"]
    }

    fn run(&self, voxels: &mut [f32], _: &NormalizationInput<'_>) -> Result<(), NormalizationError> {
        if voxels.is_empty() {
            return Ok(());
        }
        let mut sorted = voxels.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let quantile = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (median, range) = (quantile(0.5), quantile(0.75) - quantile(0.25));
        let scale = 1.0 / range.max(1e-8);
        voxels.iter_mut().for_each(|voxel| *voxel = (*voxel - median) * scale);
        Ok(())
    }
}

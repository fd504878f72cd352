//! Runs of voxels as the terms of a loss see them: probabilities, their logarithms, targets, and which voxels count.

use super::block::RUN;

/// Up to [`RUN`] neighbouring voxels of one sample. Rows have one value per voxel of the run.
pub(super) struct Run {
    /// The sample.
    pub(super) sample: usize,
    /// Index of the first voxel within the sample.
    pub(super) start: usize,
    /// Number of voxels.
    pub(super) length: usize,
    /// Probability of each channel.
    pub(super) probabilities: Rows,
    /// Logarithm of each channel's probability.
    pub(super) logarithms: Rows,
    /// Logarithm of one minus each channel's probability; of regions only.
    pub(super) complements: Rows,
    /// 1 where the channel's class or region is, else 0; 0 where a voxel does not count.
    pub(super) targets: Rows,
    /// 1 where a voxel counts, else 0.
    pub(super) counts: [f32; RUN],
}

/// Derivatives of a loss at a run, to which each term adds its own.
pub(super) struct RunGradient {
    /// By each channel's probability.
    pub(super) by_probability: Rows,
    /// By each channel's logit, beside what follows from `by_probability`.
    pub(super) by_logit: Rows,
}

/// One row of [`RUN`] values per channel.
pub(super) struct Rows(Vec<f32>);

impl Run {
    /// An empty run of `channels` channels.
    pub(super) fn new(channels: usize, regions: bool) -> Self {
        Self {
            sample: 0,
            start: 0,
            length: 0,
            probabilities: Rows::new(channels),
            logarithms: Rows::new(channels),
            complements: Rows::new(if regions { channels } else { 0 }),
            targets: Rows::new(channels),
            counts: [0.0; RUN],
        }
    }

    /// Number of channels.
    pub(super) fn channels(&self) -> usize {
        self.probabilities.count()
    }

    /// Whether targets are regions.
    pub(super) fn of_regions(&self) -> bool {
        self.complements.count() > 0
    }

    /// Row of counts of the run's voxels.
    pub(super) fn counts(&self) -> &[f32] {
        &self.counts[..self.length]
    }
}

impl RunGradient {
    /// Zeros for `channels` channels.
    pub(super) fn new(channels: usize) -> Self {
        Self { by_probability: Rows::new(channels), by_logit: Rows::new(channels) }
    }

    /// Back to zero.
    pub(super) fn clear(&mut self) {
        self.by_probability.0.fill(0.0);
        self.by_logit.0.fill(0.0);
    }
}

impl Rows {
    /// Zeros.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0.0; count * RUN])
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.0.len() / RUN
    }

    /// The first `length` values of row `index`.
    pub(super) fn row(&self, index: usize, length: usize) -> &[f32] {
        &self.0[index * RUN..][..length]
    }

    /// The same, writable.
    pub(super) fn row_mut(&mut self, index: usize, length: usize) -> &mut [f32] {
        &mut self.0[index * RUN..][..length]
    }
}

//! Counts of hard predictions, for the online evaluation (pseudo-Dice) during training.

/// Voxel counts of one class or region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverlapCounts {
    /// Predicted and present.
    pub true_positives: u64,
    /// Predicted but not present.
    pub false_positives: u64,
    /// Present but not predicted.
    pub false_negatives: u64,
}

impl OverlapCounts {
    /// Adds the counts of other voxels.
    pub fn add(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
    }

    /// 2 TP / (2 TP + FP + FN); NaN where the class neither occurs nor is predicted.
    pub fn dice(&self) -> f64 {
        let twice = 2.0 * self.true_positives as f64;
        twice / (twice + self.false_positives as f64 + self.false_negatives as f64)
    }
}

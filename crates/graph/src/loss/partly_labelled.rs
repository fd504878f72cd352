//! The loss of samples of which some classes were annotated, as data.

use super::Compared;

/// Soft Dice plus cross-entropy of what was annotated ([`Validity`](super::Validity)). Where everything was, it is nnU-Net's.
///
/// Labels: the marginal loss, in which the background and all classes that were not annotated are one class, whose
/// probability is the sum of theirs; with `exclusion` > 0 plus that many times the soft Dice, and the mean over voxels of
/// ln(1 + p), of each other class with the annotated voxels (Shi et al. 2021, arXiv:2007.03868).
///
/// Regions: the annotated ones of each sample alone. Means are taken over samples and regions that take part, or with
/// `summed` sums over regions of Dice that is not smoothed and of each sample's mean cross-entropy (MultiTalent: Ulrich et
/// al. 2023, arXiv:2303.14444).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartlyLabelledSpec {
    /// What the outputs are compared with.
    pub compared: Compared,
    /// Dice of the batch as a whole, over the samples in which a class was annotated, instead of the mean over samples.
    pub batch_dice: bool,
    /// Added to numerator and denominator of Dice.
    pub smooth: f64,
    /// Weight of the exclusion; of labels only.
    pub exclusion: f64,
    /// Whether regions are summed; of regions only.
    pub summed: bool,
}

//! The loss of one output as data: a weighted sum of terms.

use super::Ignored;

/// Added to numerator and denominator of nnU-Net's Dice.
pub const DICE_SMOOTH: f64 = 1e-5;

/// A loss of one output: a weighted sum of terms.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleLossSpec {
    /// What the outputs are compared with, which decides how logits become probabilities.
    pub compared: Compared,
    /// The terms. The loss is the sum of their values times their weights.
    pub terms: Vec<WeightedTerm>,
}

/// What the outputs of a network are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Labels: probabilities are a softmax over all outputs; output 0 is the background.
    Labels {
        /// Label of voxels that do not count.
        ignore_label: Option<i16>,
    },
    /// Regions, which may overlap: the probability of each is a sigmoid of its output. There is no background.
    Regions {
        /// Whether the last channel of targets marks voxels that do not count.
        has_ignore: bool,
    },
}

/// A term and its share in the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedTerm {
    /// Factor of the term's value.
    pub weight: f64,
    /// The term.
    pub term: TermSpec,
}

/// One term of a loss. Voxels that do not count take part in none of them.
#[derive(Debug, Clone, PartialEq)]
pub enum TermSpec {
    /// Negative soft Dice.
    Dice(DiceSpec),
    /// Cross-entropy of labels, binary cross-entropy of regions.
    CrossEntropy(CrossEntropySpec),
    /// Cross-entropy of the voxels where it is largest.
    TopK(TopKSpec),
    /// Focal loss.
    Focal(FocalSpec),
    /// Tversky loss, or focal Tversky loss.
    Tversky(TverskySpec),
    /// Boundary loss.
    Boundary(BoundarySpec),
    /// Hausdorff-distance loss.
    Hausdorff(HausdorffSpec),
    /// Soft clDice.
    ClDice(ClDiceSpec),
}

impl TermSpec {
    /// What the term is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dice(_) => "Dice",
            Self::CrossEntropy(_) => "cross-entropy",
            Self::TopK(_) => "top-k cross-entropy",
            Self::Focal(_) => "focal",
            Self::Tversky(_) => "Tversky",
            Self::Boundary(_) => "boundary",
            Self::Hausdorff(_) => "Hausdorff-distance",
            Self::ClDice(_) => "clDice",
        }
    }
}

/// Minus the mean over classes of (2 sum(p t) + s) / (sum(p) + sum(t) + s), with probabilities p, targets t and `smooth` s:
/// nnU-Net's soft Dice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiceSpec {
    /// Dice of the batch as a whole instead of the mean over samples.
    pub batch_dice: bool,
    /// Added to numerator and denominator.
    pub smooth: f64,
    /// Takes sum(p^2) instead of sum(p) in the denominator (Milletari et al. 2016, arXiv:1606.04797).
    pub squared: bool,
    /// Whether the background of labels takes part.
    pub background: bool,
}

/// PyTorch's mean cross-entropy: of labels by `CrossEntropyLoss`, of regions by `BCEWithLogitsLoss`.
///
/// With class weights, the mean over labels is divided by the sum of the weights of all voxels' classes; that over regions
/// is not. If no voxel counts, the value is 0. With an ignored part, that of regions is the sum over regions, as in
/// nnU-Net.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropySpec {
    /// Weight of each output; `None`: all 1.
    pub class_weights: Option<Vec<f64>>,
    /// Share of the target that is spread evenly over all classes, or over both states of a region.
    pub label_smoothing: f64,
}

/// nnU-Net's `TopKLoss`: the mean of the largest `percent` of the voxels' cross-entropies.
///
/// All voxels of the batch are counted for the percentage, also those with the ignore label, whose cross-entropy is 0. At
/// least one voxel is taken. Weights of classes multiply a voxel's cross-entropy and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct TopKSpec {
    /// Percentage of the voxels, above 0 and at most 100.
    pub percent: f64,
    /// The cross-entropy.
    pub cross_entropy: CrossEntropySpec,
}

/// The mean over voxels of -w (1 - p)^gamma ln p, with p the probability of what is there and w the weight of its class; of
/// regions, the mean over voxels and regions (Lin et al. 2017, arXiv:1708.02002).
#[derive(Debug, Clone, PartialEq)]
pub struct FocalSpec {
    /// Exponent, at least 0; 0 is the cross-entropy.
    pub gamma: f64,
    /// Weight of each output; `None`: all 1.
    pub class_weights: Option<Vec<f64>>,
}

/// The mean over classes of (1 - TI)^(1 / gamma), with TI = (sum(p t) + s) / (sum(p t) + alpha sum(p (1 - t)) + beta
/// sum((1 - p) t) + s), probabilities p, targets t and `smooth` s. Tversky loss: Salehi et al. 2017, arXiv:1706.05721; its
/// focal form: Abraham and Khan 2018, arXiv:1810.07842.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TverskySpec {
    /// Weight of false positives.
    pub alpha: f64,
    /// Weight of false negatives.
    pub beta: f64,
    /// 1 for the Tversky loss; 4/3 in the focal form's paper.
    pub gamma: f64,
    /// Index of the batch as a whole instead of the mean over samples.
    pub batch_dice: bool,
    /// Added to numerator and denominator.
    pub smooth: f64,
    /// Whether the background of labels takes part.
    pub background: bool,
}

/// The mean over classes and voxels of p d, with probabilities p and the signed distance d to the class's surface: outside,
/// the distance to the nearest voxel of the class; inside, 1 minus the distance to the nearest voxel outside. A class that
/// fills the sample or is absent from it contributes 0. Kervadec et al. 2019, arXiv:1812.07032, with the distances of its
/// authors' program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundarySpec {
    /// Distance between voxels along (z, y, x).
    pub spacing: [f64; 3],
    /// Whether the background of labels takes part.
    pub background: bool,
}

/// The mean over classes and voxels of (p - t)^2 (d_p^alpha + d_t^alpha), with probabilities p, targets t and the distances d
/// to the surfaces of p > 1/2 and of t; a mask that fills the sample or is empty has distance 0. Karimi and Salcudean
/// 2019, arXiv:1904.10030 (their HD_DT).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HausdorffSpec {
    /// Exponent of the distances.
    pub alpha: f64,
    /// Distance between voxels along (z, y, x).
    pub spacing: [f64; 3],
    /// Whether the background of labels takes part.
    pub background: bool,
}

/// 1 minus the mean over classes of the soft clDice: the harmonic mean of the shares of the prediction's skeleton in the
/// target and of the target's skeleton in the prediction, with soft skeletons by erosions and openings. Shit et al. 2021,
/// arXiv:2003.07311.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClDiceSpec {
    /// Erosions after the first, at least the radius of the thickest structure in voxels.
    pub iterations: usize,
    /// Shares of the batch as a whole instead of the mean over samples.
    pub batch_dice: bool,
    /// Added to numerator and denominator of each share.
    pub smooth: f64,
    /// Whether the background of labels takes part.
    pub background: bool,
}

impl ScaleLossSpec {
    /// nnU-Net's default for labels: soft Dice of the softmax without the background plus cross-entropy.
    pub fn dice_and_cross_entropy(batch_dice: bool, ignore_label: Option<i16>) -> Self {
        Self::dice_and(Compared::Labels { ignore_label }, batch_dice)
    }

    /// nnU-Net's default for regions: soft Dice of the sigmoids plus binary cross-entropy.
    pub fn dice_and_binary_cross_entropy(batch_dice: bool, has_ignore: bool) -> Self {
        Self::dice_and(Compared::Regions { has_ignore }, batch_dice)
    }

    fn dice_and(compared: Compared, batch_dice: bool) -> Self {
        let terms = vec![
            TermSpec::Dice(DiceSpec::new(batch_dice)).weighted(1.0),
            TermSpec::CrossEntropy(CrossEntropySpec::default()).weighted(1.0),
        ];
        Self { compared, terms }
    }
}

impl Compared {
    /// What pseudo-Dice counts leave out.
    pub fn ignored(&self) -> Ignored {
        match *self {
            Self::Labels { ignore_label: Some(label) } => Ignored::Label(label),
            Self::Regions { has_ignore: true } => Ignored::LastRegion,
            Self::Labels { ignore_label: None } | Self::Regions { has_ignore: false } => Ignored::Nothing,
        }
    }
}

impl DiceSpec {
    /// nnU-Net's: without background, smoothed by [`DICE_SMOOTH`].
    pub fn new(batch_dice: bool) -> Self {
        Self { batch_dice, smooth: DICE_SMOOTH, squared: false, background: false }
    }
}

impl TermSpec {
    /// This term with a factor.
    pub fn weighted(self, weight: f64) -> WeightedTerm {
        WeightedTerm { weight, term: self }
    }
}

//! Losses on logits: value and gradient in one place.
//!
//! Default: Dice plus cross-entropy over a softmax for plain labels, Dice plus binary cross-entropy
//! over sigmoids for regions, each with deep supervision. Logits are (n, c, z, y, x); targets are
//! label maps or region masks of the same resolution. Sums are taken in f32 over short runs and in
//! f64 beyond; the order does not depend on the number of threads. Losses agree with the reference's
//! to 1e-6 relative.

mod block;
mod deep_supervision;
mod dice;
mod overlap_counts;
mod sigmoid;
mod softmax;
mod targets;

pub use deep_supervision::{DeepSupervision, deep_supervision_weights};
pub use overlap_counts::{OverlapCounts, count_label_overlap, count_region_overlap};
pub use sigmoid::DiceAndBinaryCrossEntropy;
pub use softmax::DiceAndCrossEntropy;
pub use targets::{LabelBatch, RegionBatch, Target, Targets};

use nnunet_graph::Tensor;

/// A loss over all outputs of a network.
pub trait Loss: Send + Sync {
    /// The loss of `logits` (one tensor per output, full resolution first) against `targets`.
    fn value(&self, logits: &[Tensor], targets: &Targets) -> Result<LossValue, LossError>;

    /// The same with the gradient with respect to each output's logits; `None` for outputs that do
    /// not take part.
    fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError>;
}

/// A loss of one output.
pub trait ScaleLoss: Send + Sync {
    /// The loss of `logits` against `target`, and its gradient times `weight` where one is asked for.
    fn evaluate(
        &self,
        logits: &Tensor,
        target: &Target,
        gradient: Gradient,
    ) -> Result<(ScaleValue, Option<Tensor>), LossError>;
}

/// Whether a gradient is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gradient {
    /// The value is enough.
    Omitted,
    /// The gradient, multiplied by this number.
    Times(f64),
}

/// Value of a loss with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct LossValue {
    /// What is minimised.
    pub total: f64,
    /// Parts per output that takes part, full resolution first.
    pub scales: Vec<ScaleValue>,
}

/// Parts of the loss of one output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleValue {
    /// Weight of this output in the total.
    pub weight: f64,
    /// Negative mean soft Dice, in [-1, 0].
    pub dice: f64,
    /// Mean (binary) cross-entropy.
    pub cross_entropy: f64,
}

impl ScaleValue {
    /// Sum of the parts, without the weight.
    pub fn sum(&self) -> f64 {
        self.dice + self.cross_entropy
    }
}

/// Targets that do not belong to the logits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// Another number of targets than of outputs, or of weights.
    #[error("{logits} network outputs but {targets} targets and {weights} loss weights: they must be equal")]
    Outputs {
        /// Number of outputs.
        logits: usize,
        /// Number of targets.
        targets: usize,
        /// Number of weights.
        weights: usize,
    },
    /// Shapes differ.
    #[error("logits of shape {logits:?} (n, c, z, y, x) do not fit a target of shape {target:?}")]
    Shape {
        /// Shape of the logits.
        logits: [usize; 5],
        /// Shape of the target.
        target: Vec<usize>,
    },
    /// A label that the network has no output for.
    #[error(
        "label {label} in a training target, but the network has outputs for 0 to {last} only: \
         compare the labels in dataset.json with the label files and preprocess again"
    )]
    Label {
        /// The label.
        label: i16,
        /// Largest label with an output.
        last: usize,
    },
    /// Labels where the loss takes regions, or the other way round.
    #[error("the loss takes {expected}, the target holds {found}")]
    Kind {
        /// What the loss works on.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
}

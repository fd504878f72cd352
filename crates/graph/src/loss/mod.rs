//! What is minimised: losses as data, the targets they compare with, and the interface of a loss of one's own.
//!
//! A [`LossSpec`] is a weighted sum of terms that every backend has ([`ScaleLossSpec`]), or brings a [`Loss`] in Rust, which
//! runs on the host whatever the backend: the logits are copied there, and its gradients back. [`losses`] builds them from
//! names and options.

mod built_in;
mod loss_options;
mod overlap_counts;
mod partly_labelled;
mod targets;
mod terms;

use std::sync::Arc;

pub use built_in::{LossBuilder, LossFacts, losses};
pub use overlap_counts::OverlapCounts;
pub use partly_labelled::PartlyLabelledSpec;
pub use targets::{LabelBatch, RegionBatch, Target, Targets, Validity};
pub use terms::{
    BoundarySpec, ClDiceSpec, Compared, CrossEntropySpec, DICE_SMOOTH, DiceSpec, FocalSpec, HausdorffSpec,
    ScaleLossSpec, TermSpec, TopKSpec, TverskySpec, WeightedTerm,
};

use crate::tensor::Tensor;

/// A loss over all outputs of a network.
#[derive(Clone)]
pub enum LossSpec {
    /// A loss of one output, summed over all outputs with weights.
    DeepSupervision {
        /// The loss of one output.
        loss: ScaleLossSpec,
        /// Weight of each output, full resolution first; outputs of weight zero are not evaluated.
        weights: Vec<f64>,
    },
    /// Dice and cross-entropy of what each sample has annotated, summed over all outputs with weights.
    PartlyLabelled {
        /// The loss of one output.
        loss: PartlyLabelledSpec,
        /// Weight of each output, as above.
        weights: Vec<f64>,
    },
    /// A loss of one's own, which runs on the host.
    Host {
        /// The loss.
        loss: Arc<dyn Loss>,
        /// What pseudo-Dice counts leave out.
        ignored: Ignored,
    },
}

/// Voxels that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// All voxels count.
    Nothing,
    /// Those with this label.
    Label(i16),
    /// Those that the last channel of the regions marks.
    LastRegion,
}

impl LossSpec {
    /// `loss` with the reference's weights of `outputs` outputs.
    pub fn deep_supervision(loss: ScaleLossSpec, outputs: usize) -> Self {
        Self::DeepSupervision { loss, weights: deep_supervision_weights(outputs) }
    }

    /// What pseudo-Dice counts leave out.
    pub fn ignored(&self) -> Ignored {
        match self {
            Self::DeepSupervision { loss, .. } => loss.compared.ignored(),
            Self::PartlyLabelled { loss, .. } => loss.compared.ignored(),
            Self::Host { ignored, .. } => *ignored,
        }
    }
}

impl std::fmt::Debug for LossSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeepSupervision { loss, weights } => {
                f.debug_struct("DeepSupervision").field("loss", loss).field("weights", weights).finish()
            }
            Self::PartlyLabelled { loss, weights } => {
                f.debug_struct("PartlyLabelled").field("loss", loss).field("weights", weights).finish()
            }
            Self::Host { ignored, .. } => {
                f.debug_struct("Host").field("ignored", ignored).finish_non_exhaustive()
            }
        }
    }
}

/// Weights of `outputs` outputs: 1, 1/2, 1/4, ... with 0 for the last, normalised to a sum of one.
/// A single output has weight one.
pub fn deep_supervision_weights(outputs: usize) -> Vec<f64> {
    if outputs == 1 {
        return vec![1.0];
    }
    let mut weights: Vec<f64> = (0..outputs).map(|i| 0.5f64.powi(i as i32)).collect();
    if let Some(last) = weights.last_mut() {
        *last = 0.0;
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

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

/// Value of a loss with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct LossValue {
    /// What is minimised.
    pub total: f64,
    /// Parts per output that takes part, full resolution first.
    pub scales: Vec<ScaleValue>,
}

/// Parts of the loss of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleValue {
    /// Weight of this output in the total.
    pub weight: f64,
    /// Value of each term times its weight, in the order of the terms.
    pub terms: Vec<f64>,
}

impl ScaleValue {
    /// Sum of the terms, without the weight of the output.
    pub fn sum(&self) -> f64 {
        self.terms.iter().sum()
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
    /// A mask of what was annotated that the loss cannot honour.
    #[error(
        "sample {sample} of the batch: {found}; this loss leaves out samples as a whole, expected a mask with all or none of \
         each sample's classes. Choose the loss marginal or exclusion, for regions marginal or multitalent"
    )]
    Validity {
        /// The sample.
        sample: usize,
        /// What the mask says.
        found: String,
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
    /// Weights of another number of classes than the network has outputs.
    #[error("{weights} class weights, but the network has {outputs} outputs: give one weight per output")]
    ClassWeights {
        /// Number of weights.
        weights: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// A device that failed.
    #[error("the loss could not be computed on the device: {0}")]
    Device(String),
    /// Labels where the loss takes regions, or the other way round.
    #[error("the loss takes {expected}, the target holds {found}")]
    Kind {
        /// What the loss works on.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_halve_and_the_last_is_zero() {
        let expected = [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0];
        let found = deep_supervision_weights(4);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        assert_eq!(deep_supervision_weights(2), [1.0, 0.0]);
        assert_eq!(deep_supervision_weights(1), [1.0]);
    }
}

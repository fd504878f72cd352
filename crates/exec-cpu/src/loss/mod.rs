//! The losses on the host: value and gradient in one place.
//!
//! Dice plus cross-entropy over a softmax for plain labels, Dice plus binary cross-entropy over sigmoids for regions, each
//! with deep supervision. Logits are (n, c, z, y, x); targets are label maps or region masks of the same resolution. Sums
//! are taken in f32 over short runs and in f64 beyond; the order does not depend on the number of threads. Losses agree
//! with the reference's to 1e-6 relative.

mod block;
mod deep_supervision;
mod dice;
mod overlap_counts;
mod sigmoid;
mod softmax;

use std::sync::Arc;

pub use deep_supervision::DeepSupervision;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{Loss, LossError, LossSpec, ScaleLossSpec, ScaleValue, Target};
pub use overlap_counts::{count_label_overlap, count_region_overlap};
pub use sigmoid::DiceAndBinaryCrossEntropy;
pub use softmax::DiceAndCrossEntropy;

/// The loss that `spec` describes.
pub fn host_loss(spec: &LossSpec) -> Arc<dyn Loss> {
    match spec {
        LossSpec::DeepSupervision { loss, weights } => {
            let weights = weights.clone();
            match *loss {
                ScaleLossSpec::DiceAndCrossEntropy { batch_dice, ignore_label } => {
                    let loss = DiceAndCrossEntropy { batch_dice, ignore_label };
                    Arc::new(DeepSupervision { loss, weights })
                }
                ScaleLossSpec::DiceAndBinaryCrossEntropy { batch_dice, has_ignore } => {
                    let loss = DiceAndBinaryCrossEntropy { batch_dice, has_ignore };
                    Arc::new(DeepSupervision { loss, weights })
                }
            }
        }
        LossSpec::Host { loss, .. } => Arc::clone(loss),
    }
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

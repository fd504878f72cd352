//! The losses on the host: value and gradient in one place.
//!
//! Logits are (n, c, z, y, x); targets are label maps or region masks of the same resolution. nnU-Net's default, Dice plus
//! cross-entropy over a softmax for plain labels and Dice plus binary cross-entropy over sigmoids for regions, has a form of
//! its own each ([`DiceAndCrossEntropy`], [`DiceAndBinaryCrossEntropy`]); all other sums of terms are [`SumOfTerms`]. Sums
//! are taken in f32 over short runs and in f64 beyond; the order does not depend on the number of threads. Losses agree with
//! the reference's to 1e-6 relative.

mod block;
mod deep_supervision;
mod distance;
mod field;
pub mod overlap;
mod overlap_counts;
mod partly_labelled;
mod run;
mod sigmoid;
mod skeleton;
mod softmax;
mod sum_of_terms;
mod terms;
pub mod validity;

use std::sync::Arc;

pub use deep_supervision::DeepSupervision;
use nnunet_graph::Tensor;
use nnunet_graph::loss::{
    Compared, CrossEntropySpec, DiceSpec, Loss, LossError, LossSpec, ScaleLossSpec, ScaleValue, Target,
    TermSpec, WeightedTerm,
};
pub use overlap_counts::{count_label_overlap, count_region_overlap};
pub use sigmoid::DiceAndBinaryCrossEntropy;
pub use softmax::DiceAndCrossEntropy;
pub use sum_of_terms::SumOfTerms;

/// The loss that `spec` describes.
pub fn host_loss(spec: &LossSpec) -> Arc<dyn Loss> {
    match spec {
        LossSpec::DeepSupervision { loss, weights } => {
            let weights = weights.clone();
            match (loss.compared, default_dice(loss)) {
                (Compared::Labels { ignore_label }, Some(DiceSpec { batch_dice, smooth, .. })) => {
                    let loss = DiceAndCrossEntropy { batch_dice, smooth, ignore_label };
                    Arc::new(DeepSupervision { loss, weights })
                }
                (Compared::Regions { has_ignore }, Some(DiceSpec { batch_dice, smooth, .. })) => {
                    let loss = DiceAndBinaryCrossEntropy { batch_dice, smooth, has_ignore };
                    Arc::new(DeepSupervision { loss, weights })
                }
                (_, None) => Arc::new(DeepSupervision { loss: SumOfTerms::new(loss.clone()), weights }),
            }
        }
        LossSpec::PartlyLabelled { loss, weights } => {
            Arc::new(partly_labelled::PartlyLabelled::new(loss, weights))
        }
        LossSpec::Host { loss, .. } => Arc::clone(loss),
    }
}

/// The Dice of a loss that is nnU-Net's default but for the smoothing.
fn default_dice(loss: &ScaleLossSpec) -> Option<DiceSpec> {
    let [WeightedTerm { weight: 1.0, term: TermSpec::Dice(dice) }, WeightedTerm { weight: 1.0, term: other }] =
        loss.terms.as_slice()
    else {
        return None;
    };
    let plain = !dice.squared && !dice.background;
    (plain && *other == TermSpec::CrossEntropy(CrossEntropySpec::default())).then_some(*dice)
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

//! Dice plus cross-entropy where each sample has only some of the classes annotated.
//!
//! A mask (sample, class) says what was annotated ([`Validity`]). Samples of which nothing was take no part. Where everything
//! was annotated, the loss is the ordinary one, by the same code. Definitions: [`PartlyLabelledSpec`].
//!
//! [`Validity`]: nnunet_graph::loss::Validity

mod labels;
mod overlap;
mod regions;

use std::sync::Arc;

use nnunet_graph::Tensor;
use nnunet_graph::loss::{
    Compared, Loss, LossError, LossSpec, LossValue, PartlyLabelledSpec, ScaleLossSpec, ScaleValue, Target,
    Targets,
};

use super::deep_supervision::{check_outputs, weighted_sum};
use super::validity::annotated_rows;
use super::{Gradient, host_loss};

/// The loss over all outputs of a network.
pub(super) struct PartlyLabelled {
    spec: PartlyLabelledSpec,
    weights: Vec<f64>,
    /// The same for batches in which everything is annotated; `None` if there is no ordinary form.
    complete: Option<Arc<dyn Loss>>,
}

impl PartlyLabelled {
    pub(super) fn new(spec: &PartlyLabelledSpec, weights: &[f64]) -> Self {
        let PartlyLabelledSpec { compared, batch_dice, summed, .. } = *spec;
        let ordinary = match compared {
            Compared::Labels { ignore_label } => {
                ScaleLossSpec::dice_and_cross_entropy(batch_dice, ignore_label)
            }
            Compared::Regions { has_ignore } => {
                ScaleLossSpec::dice_and_binary_cross_entropy(batch_dice, has_ignore)
            }
        };
        let weights = weights.to_vec();
        let complete = (!summed)
            .then(|| host_loss(&LossSpec::DeepSupervision { loss: ordinary, weights: weights.clone() }));
        Self { spec: *spec, weights, complete }
    }

    fn evaluate(
        &self,
        logits: &[Tensor],
        targets: &Targets,
        with_gradient: bool,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        check_outputs(logits, targets, &self.weights)?;
        let [samples, classes, ..] = logits.first().map_or([0; 5], |logits| logits.shape);
        let all = vec![true; classes];
        let rows = match annotated_rows(targets, samples, classes)? {
            Some(rows) => rows,
            None => vec![all.as_slice(); samples],
        };
        if let Some(complete) = &self.complete
            && rows.iter().all(|row| row.iter().all(|annotated| *annotated))
        {
            let targets = Targets::new(targets.scales.clone());
            return match with_gradient {
                true => complete.value_and_gradient(logits, &targets),
                false => complete.value(logits, &targets).map(|value| (value, Vec::new())),
            };
        }
        weighted_sum(logits, targets, &self.weights, with_gradient, |logits, target, wanted| {
            self.evaluate_scale(logits, target, &rows, wanted)
        })
    }

    fn evaluate_scale(
        &self,
        logits: &Tensor,
        target: &Target,
        rows: &[&[bool]],
        gradient: Gradient,
    ) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        match (self.spec.compared, target) {
            (Compared::Labels { ignore_label }, Target::Labels(target)) => {
                labels::Batch { spec: &self.spec, ignore_label, logits, target, rows }.evaluate(gradient)
            }
            (Compared::Regions { has_ignore }, Target::Regions(target)) => {
                regions::Batch { spec: &self.spec, has_ignore, logits, target, rows }.evaluate(gradient)
            }
            (Compared::Labels { .. }, other) => {
                Err(LossError::Kind { expected: "labels", found: other.kind() })
            }
            (Compared::Regions { .. }, other) => {
                Err(LossError::Kind { expected: "regions", found: other.kind() })
            }
        }
    }
}

impl Loss for PartlyLabelled {
    fn value(&self, logits: &[Tensor], targets: &Targets) -> Result<LossValue, LossError> {
        self.evaluate(logits, targets, false).map(|(value, _)| value)
    }

    fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        self.evaluate(logits, targets, true)
    }
}

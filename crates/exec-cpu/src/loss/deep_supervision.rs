//! One loss for all outputs of a network: a weighted sum.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{Loss, LossError, LossValue, ScaleValue, Target, Targets, deep_supervision_weights};

use super::validity::{select, select_target, spread, valid_samples};
use super::{Gradient, ScaleLoss};

/// Checks that there are a target and a weight for each output.
pub(super) fn check_outputs(logits: &[Tensor], targets: &Targets, weights: &[f64]) -> Result<(), LossError> {
    let (logits, targets, weights) = (logits.len(), targets.scales.len(), weights.len());
    match logits == targets && logits == weights {
        true => Ok(()),
        false => Err(LossError::Outputs { logits, targets, weights }),
    }
}

/// The sum over the outputs of what `evaluate` makes of each, times its weight, and the gradient of each. Outputs of weight zero
/// are not evaluated.
pub(super) fn weighted_sum(
    logits: &[Tensor],
    targets: &Targets,
    weights: &[f64],
    with_gradient: bool,
    evaluate: impl Fn(&Tensor, &Target, Gradient) -> Result<(ScaleValue, Option<Tensor>), LossError>,
) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
    let (mut scales, mut gradients) = (Vec::new(), Vec::new());
    for ((logits, target), &weight) in logits.iter().zip(&targets.scales).zip(weights) {
        if weight == 0.0 {
            gradients.push(None);
            continue;
        }
        let wanted = if with_gradient { Gradient::Times(weight) } else { Gradient::Omitted };
        let (mut value, gradient) = evaluate(logits, target, wanted)?;
        value.weight = weight;
        scales.push(value);
        gradients.push(gradient);
    }
    let total = scales.iter().map(|scale| scale.weight * scale.sum()).sum();
    Ok((LossValue { total, scales }, gradients))
}

/// A loss of one output applied to each output of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepSupervision<L> {
    /// Loss of one output.
    pub loss: L,
    /// Weight of each output, full resolution first; outputs of weight zero are not evaluated.
    pub weights: Vec<f64>,
}

impl<L: ScaleLoss> DeepSupervision<L> {
    /// `loss` on `outputs` outputs with the default weights.
    pub fn new(loss: L, outputs: usize) -> Self {
        Self { loss, weights: deep_supervision_weights(outputs) }
    }

    fn evaluate(
        &self,
        logits: &[Tensor],
        targets: &Targets,
        with_gradient: bool,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        check_outputs(logits, targets, &self.weights)?;
        let samples = logits.first().map_or(0, |logits| logits.shape[0]);
        let valid = valid_samples(targets, samples)?;
        weighted_sum(logits, targets, &self.weights, with_gradient, |logits, target, wanted| match &valid {
            None => self.loss.evaluate(logits, target, wanted),
            Some(samples) => self.evaluate_some(logits, target, wanted, samples),
        })
    }

    /// The loss of these samples alone.
    fn evaluate_some(
        &self,
        logits: &Tensor,
        target: &Target,
        wanted: Gradient,
        samples: &[usize],
    ) -> Result<(ScaleValue, Option<Tensor>), LossError> {
        if samples.is_empty() {
            let gradient = (wanted != Gradient::Omitted).then(|| spread(logits, logits.shape, samples));
            return Ok((ScaleValue { weight: 0.0, terms: Vec::new() }, gradient));
        }
        let (some, target) = (select(logits, samples), select_target(target, samples));
        let (value, gradient) = self.loss.evaluate(&some, &target, wanted)?;
        Ok((value, gradient.map(|gradient| spread(&gradient, logits.shape, samples))))
    }
}

impl<L: ScaleLoss> Loss for DeepSupervision<L> {
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

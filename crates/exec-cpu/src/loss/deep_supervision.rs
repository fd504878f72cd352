//! One loss for all outputs of a network: a weighted sum.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{Loss, LossError, LossValue, ScaleValue, Target, Targets, deep_supervision_weights};

use super::validity::{select, select_target, spread, valid_samples};
use super::{Gradient, ScaleLoss};

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
        if logits.len() != targets.scales.len() || logits.len() != self.weights.len() {
            let (logits, targets) = (logits.len(), targets.scales.len());
            return Err(LossError::Outputs { logits, targets, weights: self.weights.len() });
        }
        let samples = logits.first().map_or(0, |logits| logits.shape[0]);
        let valid = valid_samples(targets, samples)?;
        let mut scales = Vec::new();
        let mut gradients = Vec::new();
        for ((logits, target), &weight) in logits.iter().zip(&targets.scales).zip(&self.weights) {
            if weight == 0.0 {
                gradients.push(None);
                continue;
            }
            let wanted = if with_gradient { Gradient::Times(weight) } else { Gradient::Omitted };
            let (mut value, gradient) = match &valid {
                None => self.loss.evaluate(logits, target, wanted)?,
                Some(samples) => self.evaluate_some(logits, target, wanted, samples)?,
            };
            value.weight = weight;
            scales.push(value);
            gradients.push(gradient);
        }
        let total = scales.iter().map(|s| s.weight * s.sum()).sum();
        Ok((LossValue { total, scales }, gradients))
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

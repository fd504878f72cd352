//! One loss for all outputs of a network: a weighted sum.

use nnunet_graph::Tensor;
use nnunet_graph::loss::{Loss, LossError, LossValue, Targets, deep_supervision_weights};

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
        let mut scales = Vec::new();
        let mut gradients = Vec::new();
        for ((logits, target), &weight) in logits.iter().zip(&targets.scales).zip(&self.weights) {
            if weight == 0.0 {
                gradients.push(None);
                continue;
            }
            let wanted = if with_gradient { Gradient::Times(weight) } else { Gradient::Omitted };
            let (mut value, gradient) = self.loss.evaluate(logits, target, wanted)?;
            value.weight = weight;
            scales.push(value);
            gradients.push(gradient);
        }
        let total = scales.iter().map(|s| s.weight * s.sum()).sum();
        Ok((LossValue { total, scales }, gradients))
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

//! One loss for all outputs of a network: a weighted sum.

use super::{Gradient, Loss, LossError, LossValue, ScaleLoss, Targets};
use nnunet_graph::Tensor;

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

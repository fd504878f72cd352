//! `brier`: the squared error of the probabilities, mean over the voxels that count (Brier 1950). It runs on the host, so
//! it works with every device.

use std::sync::Arc;

use nnunet::graph::Tensor;
use nnunet::graph::loss::{
    Ignored, Loss, LossError, LossFacts, LossSpec, LossValue, ScaleValue, Target, Targets,
};
use nnunet::parts::{OptionError, Options};

/// Makes the loss for a training. It has no options.
pub(crate) fn build(options: &mut Options<'_>, facts: &LossFacts) -> Result<LossSpec, OptionError> {
    if facts.regions {
        return Err(options.unsuitable("compares labels: choose dice_ce for a dataset with regions"));
    }
    if facts.outputs != 1 {
        return Err(options.unsuitable("takes one output: set deep_supervision = false in the recipe"));
    }
    let ignored = facts.ignore_label.map_or(Ignored::Nothing, Ignored::Label);
    Ok(LossSpec::Host { loss: Arc::new(Brier { ignore_label: facts.ignore_label }), ignored })
}

struct Brier {
    ignore_label: Option<i16>,
}

impl Loss for Brier {
    fn value(&self, logits: &[Tensor], targets: &Targets) -> Result<LossValue, LossError> {
        Ok(self.value_and_gradient(logits, targets)?.0)
    }

    fn value_and_gradient(
        &self,
        logits: &[Tensor],
        targets: &Targets,
    ) -> Result<(LossValue, Vec<Option<Tensor>>), LossError> {
        let ([logits], [target]) = (logits, targets.scales.as_slice()) else {
            return Err(LossError::Outputs {
                logits: logits.len(),
                targets: targets.scales.len(),
                weights: 1,
            });
        };
        let Target::Labels(labels) = target else {
            return Err(LossError::Kind { expected: "labels", found: target.kind() });
        };
        let [n, classes, z, y, x] = logits.shape;
        if labels.shape != [n, z, y, x] {
            return Err(LossError::Shape { logits: logits.shape, target: labels.shape.to_vec() });
        }
        let counted = labels.data.iter().filter(|&&label| Some(label) != self.ignore_label).count().max(1);
        let voxels = logits.voxels();
        let mut gradient = Tensor::zeros(logits.shape);
        let mut sum = 0.0;
        let mut probabilities = vec![0.0f32; classes];
        for sample in 0..n {
            for (voxel, &label) in labels.sample(sample).iter().enumerate() {
                if Some(label) == self.ignore_label {
                    continue;
                }
                if !(0..classes as i16).contains(&label) {
                    return Err(LossError::Label { label, last: classes - 1 });
                }
                let at = |class: usize| (sample * classes + class) * voxels + voxel;
                for (class, probability) in probabilities.iter_mut().enumerate() {
                    *probability = logits.data[at(class)];
                }
                softmax(&mut probabilities);
                let wrong =
                    |class: usize| probabilities[class] - f32::from(u8::from(class == label as usize));
                sum += (0..classes).map(|class| f64::from(wrong(class)).powi(2)).sum::<f64>();
                // The derivative of the softmax takes away the mean error, weighted by the probabilities.
                let mean: f32 = (0..classes).map(|class| probabilities[class] * wrong(class)).sum();
                for (class, probability) in probabilities.iter().enumerate() {
                    gradient.data[at(class)] = 2.0 * probability * (wrong(class) - mean) / counted as f32;
                }
            }
        }
        let total = sum / counted as f64;
        let value = LossValue { total, scales: vec![ScaleValue { weight: 1.0, terms: vec![total] }] };
        Ok((value, vec![Some(gradient)]))
    }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use nnunet::graph::loss::LabelBatch;

    use super::*;

    /// Two voxels of three classes, the second one ignored.
    fn loss(logits: [f32; 6]) -> (f64, Vec<f32>) {
        let labels = LabelBatch { shape: [1, 1, 1, 2], data: vec![1, 7] };
        let logits = Tensor { shape: [1, 3, 1, 1, 2], data: logits.to_vec() };
        let brier = Brier { ignore_label: Some(7) };
        let targets = Targets::new(vec![Target::Labels(labels)]);
        let Ok((value, gradients)) = brier.value_and_gradient(&[logits], &targets) else {
            return (f64::NAN, Vec::new());
        };
        (value.total, gradients.into_iter().flatten().flat_map(|gradient| gradient.data).collect())
    }

    #[test]
    fn equal_scores_are_two_thirds_off() {
        // (1/3)^2 + (2/3)^2 + (1/3)^2
        assert!((loss([5.0; 6]).0 - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let logits = [0.3, 9.0, -0.4, 9.0, 0.9, -9.0];
        let gradient = loss(logits).1;
        for (i, found) in gradient.iter().enumerate() {
            let mut shifted = [logits, logits];
            shifted[0][i] -= 0.01;
            shifted[1][i] += 0.01;
            let [below, above] = shifted.map(|logits| loss(logits).0);
            assert!(((above - below) / 0.02 - f64::from(*found)).abs() < 1e-4, "{i}: {found}");
        }
    }
}

//! Cross-entropy of labels and binary cross-entropy of regions, with class weights and label smoothing.
//!
//! Both are -sum over channels of a ln p, and for regions also b ln(1 - p): a and b are the smoothed targets times the
//! weights. The derivative by a logit is (sum of a) p - a for a softmax and (a + b) p - a for a sigmoid.

use nnunet_graph::loss::{CrossEntropySpec, LossError};

use super::Term;
use super::field::{Field, FieldGradient};
use crate::interface::{Tensor, TorchError};

/// The cross-entropy of single voxels.
pub(super) struct CrossEntropy {
    /// Weight of each channel.
    pub(super) weights: Vec<f64>,
    /// Whether all weights are 1.
    plain: bool,
    /// Smoothing, from 0 to 1.
    smoothing: f64,
}

impl CrossEntropy {
    pub(super) fn new(spec: &CrossEntropySpec, field: &Field) -> Result<Self, LossError> {
        let weights = class_weights(spec.class_weights.as_deref(), field)?;
        Ok(Self { weights, plain: spec.class_weights.is_none(), smoothing: spec.label_smoothing })
    }

    /// Share of a target that stays, and what each channel or state gets of the rest.
    fn shares(&self, field: &Field) -> (f64, f64) {
        let states = if field.of_regions() { 2.0 } else { field.channels as f64 };
        (1.0 - self.smoothing, self.smoothing / states)
    }

    /// a: the smoothed targets times the weights.
    fn factors(&self, field: &Field) -> Result<Tensor, TorchError> {
        let (keep, spread) = self.shares(field);
        if self.plain && self.smoothing == 0.0 {
            return field.targets.share();
        }
        let by = |share: f64| field.coefficients(&self.weights.iter().map(|w| w * share).collect::<Vec<_>>());
        let kept = field.targets.times(&by(keep)?)?;
        if self.smoothing == 0.0 { Ok(kept) } else { kept.plus(&by(spread)?, 1.0) }
    }

    /// The value of each voxel, of each region at each voxel, 0 where voxels do not count.
    pub(super) fn values(&self, field: &Field) -> Result<Tensor, TorchError> {
        let a = self.factors(field)?;
        let mut values = a.times(&field.logarithms)?;
        match &field.complements {
            None => values = values.sum(&[1], true, None)?,
            Some(complements) => {
                // b = w - a, since both states together get the weight.
                let b = a.neg()?.plus(&field.coefficients(&self.weights)?, 1.0)?;
                values = values.plus(&b.times(complements)?, 1.0)?;
            }
        }
        field.where_counted(&values.neg()?)
    }

    /// Derivatives of the values by the logits.
    pub(super) fn by_logit(&self, field: &Field) -> Result<Tensor, TorchError> {
        let (a, p) = (self.factors(field)?, &field.probabilities);
        let times_sum = match field.of_regions() {
            true if self.plain => p.share()?,
            true => p.times(&field.coefficients(&self.weights)?)?,
            false if self.plain => p.share()?,
            false => p.times(&a.sum(&[1], true, None)?)?,
        };
        times_sum.plus(&a, -1.0)
    }
}

/// Mean over the voxels that count.
pub(super) struct MeanCrossEntropy {
    voxels: CrossEntropy,
    /// What the sum is divided by, where it does not follow from the weights of the voxels' classes.
    divisor: Option<f64>,
    by_voxel: f64,
}

impl MeanCrossEntropy {
    pub(super) fn new(spec: &CrossEntropySpec, field: &Field) -> Result<Self, LossError> {
        let counted = field.counted as f64;
        let divisor = match (field.of_regions(), field.has_ignore) {
            // nnU-Net divides a sum over regions by the number of voxels here.
            (true, true) => Some(counted),
            (true, false) => Some(counted * field.channels as f64),
            (false, _) => spec.class_weights.is_none().then_some(counted),
        };
        Ok(Self { voxels: CrossEntropy::new(spec, field)?, divisor, by_voxel: 0.0 })
    }
}

impl Term for MeanCrossEntropy {
    fn sums(&mut self, field: &Field) -> Result<Vec<Tensor>, TorchError> {
        let mut sums = vec![field.sums(&self.voxels.values(field)?)?];
        if self.divisor.is_none() {
            sums.push(field.sums(&field.targets)?);
        }
        Ok(sums)
    }

    fn finish(&mut self, numbers: &[f64], field: &Field) -> f64 {
        let values = field.samples * if field.of_regions() { field.channels } else { 1 };
        let (values, classes) = numbers.split_at(values);
        let divisor = self.divisor.unwrap_or_else(|| {
            classes.iter().enumerate().map(|(i, sum)| sum * self.voxels.weights[i % field.channels]).sum()
        });
        self.by_voxel = if divisor > 0.0 { 1.0 / divisor } else { 0.0 };
        if divisor > 0.0 { values.iter().sum::<f64>() / divisor } else { 0.0 }
    }

    fn add_gradient(
        &self,
        field: &Field,
        weight: f64,
        gradient: &mut FieldGradient,
    ) -> Result<(), TorchError> {
        gradient.add_by_logit(self.voxels.by_logit(field)?.scaled(weight * self.by_voxel)?)
    }
}

/// One weight per channel, 1 where none are given.
pub(super) fn class_weights(weights: Option<&[f64]>, field: &Field) -> Result<Vec<f64>, LossError> {
    let outputs = field.channels;
    match weights {
        None => Ok(vec![1.0; outputs]),
        Some(weights) if weights.len() == outputs => Ok(weights.to_vec()),
        Some(weights) => Err(LossError::ClassWeights { weights: weights.len(), outputs }),
    }
}

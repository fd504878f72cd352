//! Focal loss, of a softmax for labels and of sigmoids for regions.
//!
//! With p the probability of what is there, the loss is -w (1 - p)^gamma ln p; its derivative by the logit of what is there
//! is k (1 - p) with k = w (gamma p (1 - p)^(gamma - 1) ln p - (1 - p)^gamma), by other logits of a softmax -k times their
//! probability.

use nnunet_graph::loss::{FocalSpec, LossError};

use super::Term;
use super::cross_entropy::class_weights;
use super::field::{Field, FieldGradient};
use crate::interface::{Dtype, Tensor, TorchError};

pub(super) struct Focal {
    gamma: f64,
    weights: Vec<f64>,
    by_value: f64,
}

impl Focal {
    pub(super) fn new(spec: &FocalSpec, field: &Field) -> Result<Self, LossError> {
        let values = field.counted * if field.of_regions() { field.channels } else { 1 };
        let weights = class_weights(spec.class_weights.as_deref(), field)?;
        Ok(Self { gamma: spec.gamma, weights, by_value: 1.0 / values.max(1) as f64 })
    }

    /// q to the power of `exponent`, with 0 where q is 0.
    fn power(field: &Field, q: &Tensor, exponent: f64) -> Result<Tensor, TorchError> {
        if exponent == 0.0 {
            return field.runtime.full(&q.shape(), 1.0, Dtype::F32);
        }
        if exponent == 1.0 {
            return q.share();
        }
        if exponent == 2.0 {
            return q.times(q);
        }
        let axes = vec![1; q.shape().len()];
        let (zero, exponent) =
            (field.runtime.full(&axes, 0.0, Dtype::F32)?, field.runtime.full(&axes, exponent, Dtype::F32)?);
        q.exceeds(&zero)?.choose(&q.power(&exponent)?, &zero)
    }

    /// k without the weight, for the probability p with q = 1 - p.
    fn slope(&self, field: &Field, p: &Tensor, q: &Tensor, ln_p: &Tensor) -> Result<Tensor, TorchError> {
        let modulation = Self::power(field, q, self.gamma)?;
        if self.gamma == 0.0 {
            return modulation.neg();
        }
        let inner = p.times(&Self::power(field, q, self.gamma - 1.0)?)?.times(ln_p)?.scaled(self.gamma)?;
        inner.plus(&modulation, -1.0)
    }

    /// 1 - x.
    fn rest(x: &Tensor) -> Result<Tensor, TorchError> {
        x.neg()?.plus(&Tensor::number(x.interface(), 1.0)?, 1.0)
    }

    /// 1 where a region is not, though the voxel counts.
    fn absent(field: &Field) -> Result<Tensor, TorchError> {
        field.where_counted(&Self::rest(&field.targets)?)
    }
}

impl Term for Focal {
    fn sums(&mut self, field: &Field) -> Result<Vec<Tensor>, TorchError> {
        let (p, t) = (&field.probabilities, &field.targets);
        let q = Self::rest(p)?;
        let mut values = Self::power(field, &q, self.gamma)?.times(&field.logarithms)?.times(t)?;
        if let Some(ln_q) = &field.complements {
            let absent = Self::power(field, p, self.gamma)?.times(ln_q)?.times(&Self::absent(field)?)?;
            values = values.plus(&absent, 1.0)?;
        }
        Ok(vec![field.sums(&values)?])
    }

    fn finish(&mut self, numbers: &[f64], field: &Field) -> f64 {
        let weighted = numbers.iter().enumerate().map(|(i, sum)| -self.weights[i % field.channels] * sum);
        weighted.sum::<f64>() * self.by_value
    }

    fn add_gradient(
        &self,
        field: &Field,
        weight: f64,
        gradient: &mut FieldGradient,
    ) -> Result<(), TorchError> {
        let (p, t) = (&field.probabilities, &field.targets);
        let factors: Vec<f64> = self.weights.iter().map(|w| w * weight * self.by_value).collect();
        let factors = field.coefficients(&factors)?;
        let q = Self::rest(p)?;
        let there = self.slope(field, p, &q, &field.logarithms)?.times(t)?.times(&factors)?;
        gradient.add_by_logit(match &field.complements {
            None => {
                let total = there.sum(&[1], true, None)?;
                there.plus(&p.times(&total)?, -1.0)?
            }
            Some(ln_q) => {
                let absent = self.slope(field, &q, p, ln_q)?.times(&Self::absent(field)?)?.times(&factors)?;
                there.times(&q)?.plus(&absent.times(p)?, -1.0)?
            }
        })
    }
}

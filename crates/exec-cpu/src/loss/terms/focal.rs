//! Focal loss, of a softmax for labels and of sigmoids for regions.
//!
//! With p the probability of what is there, the loss is -w (1 - p)^gamma ln p; its derivative by the logit of what is there
//! is k (1 - p) with k = w (gamma p (1 - p)^(gamma - 1) ln p - (1 - p)^gamma), by other logits of a softmax -k times their
//! probability.

use nnunet_graph::loss::{FocalSpec, LossError};

use super::cross_entropy::class_weights;
use crate::loss::block::{RUN, run_sum};
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

pub(in crate::loss) struct Focal {
    gamma: f32,
    weights: Vec<f32>,
    by_value: f64,
}

impl Focal {
    pub(in crate::loss) fn new(spec: &FocalSpec, field: &Field<'_>) -> Result<Self, LossError> {
        let values = field.counted() * if field.of_regions() { field.channels() } else { 1 };
        Ok(Self {
            gamma: spec.gamma as f32,
            weights: class_weights(spec.class_weights.as_deref(), field)?,
            by_value: 1.0 / values.max(1) as f64,
        })
    }

    /// q^gamma.
    #[inline(always)]
    fn modulation(&self, q: f32) -> f32 {
        if self.gamma == 2.0 { q * q } else { q.powf(self.gamma) }
    }

    /// k without the weight.
    #[inline(always)]
    fn slope(&self, p: f32, q: f32, ln_p: f32) -> f32 {
        // Where q is 0, so is ln p, and the product has the limit 0.
        let inner = match self.gamma == 2.0 {
            true => q,
            false if q > 0.0 => q.powf(self.gamma - 1.0),
            false => 0.0,
        };
        self.gamma * p * inner * ln_p - self.modulation(q)
    }
}

impl Term for Focal {
    fn width(&self) -> usize {
        1
    }

    fn add_sums(&self, run: &Run, sums: &mut [f64]) {
        let n = run.length;
        for (c, &weight) in self.weights.iter().enumerate() {
            let (p, t, ln_p) = (run.probabilities.row(c, n), run.targets.row(c, n), run.logarithms.row(c, n));
            let there = |i: usize| if t[i] != 0.0 { -self.modulation(1.0 - p[i]) * ln_p[i] } else { 0.0 };
            let mut sum = run_sum(n, there);
            if run.of_regions() {
                let (ln_q, counts) = (run.complements.row(c, n), run.counts());
                let missing = |i: usize| counts[i] != 0.0 && t[i] == 0.0;
                sum += run_sum(n, |i| if missing(i) { -self.modulation(p[i]) * ln_q[i] } else { 0.0 });
            }
            sums[0] += f64::from(weight) * sum;
        }
    }

    fn finish(&mut self, sums: &[f64]) -> f64 {
        sums.iter().sum::<f64>() * self.by_value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let (n, factor) = (run.length, (weight * self.by_value) as f32);
        let mut total = [0.0f32; RUN];
        for (c, &weight) in self.weights.iter().enumerate() {
            let (p, t, ln_p) = (run.probabilities.row(c, n), run.targets.row(c, n), run.logarithms.row(c, n));
            let out = gradient.by_logit.row_mut(c, n);
            let weight = weight * factor;
            for i in (0..n).filter(|&i| t[i] != 0.0) {
                let slope = weight * self.slope(p[i], 1.0 - p[i], ln_p[i]);
                total[i] += slope;
                out[i] += if run.of_regions() { slope * (1.0 - p[i]) } else { slope };
            }
            if run.of_regions() {
                let ln_q = run.complements.row(c, n);
                for i in (0..n).filter(|&i| t[i] == 0.0) {
                    out[i] -= weight * self.slope(1.0 - p[i], p[i], ln_q[i]) * p[i];
                }
            }
        }
        if !run.of_regions() {
            for c in 0..run.channels() {
                let (p, out) = (run.probabilities.row(c, n), gradient.by_logit.row_mut(c, n));
                for i in 0..n {
                    out[i] -= p[i] * total[i];
                }
            }
        }
    }
}

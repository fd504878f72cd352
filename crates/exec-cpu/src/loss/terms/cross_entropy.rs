//! Cross-entropy of labels and binary cross-entropy of regions, with class weights and label smoothing.
//!
//! Both are -sum over channels of a ln p, and for regions also b ln(1 - p): a and b are the smoothed targets times the
//! weights. The derivative by a logit is (sum of a) p - a for a softmax and (a + b) p - a for a sigmoid.

use nnunet_graph::loss::{CrossEntropySpec, LossError};

use crate::loss::block::{RUN, run_sum};
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

/// The cross-entropy of single voxels.
pub(in crate::loss) struct CrossEntropy {
    /// Weight of each channel.
    pub(in crate::loss) weights: Vec<f32>,
    /// Smoothing, from 0 to 1.
    smoothing: f32,
}

impl CrossEntropy {
    pub(in crate::loss) fn new(spec: &CrossEntropySpec, field: &Field<'_>) -> Result<Self, LossError> {
        let weights = class_weights(spec.class_weights.as_deref(), field)?;
        Ok(Self { weights, smoothing: spec.label_smoothing as f32 })
    }

    /// The factors of ln p and ln(1 - p) at a target `t` of channel `c`; the second is for regions.
    #[inline(always)]
    fn factors(&self, run: &Run, c: usize) -> impl Fn(f32) -> (f32, f32) + use<> {
        let classes = if run.of_regions() { 2.0 } else { run.channels() as f32 };
        let (weight, keep, spread) = (self.weights[c], 1.0 - self.smoothing, self.smoothing / classes);
        let negative = if run.of_regions() { weight } else { 0.0 };
        move |t| (weight * (keep * t + spread), negative * (keep * (1.0 - t) + spread))
    }

    /// Adds what channel `c` contributes to the cross-entropy of each voxel; voxels that do not count get 0.
    pub(in crate::loss) fn add_channel(&self, run: &Run, c: usize, values: &mut [f32]) {
        let n = run.length;
        let factors = self.factors(run, c);
        let (t, ln_p, counts) = (run.targets.row(c, n), run.logarithms.row(c, n), run.counts());
        let ln_q = if run.of_regions() { run.complements.row(c, n) } else { ln_p };
        for i in 0..n {
            let (a, b) = factors(t[i]);
            values[i] += if counts[i] != 0.0 { -(a * ln_p[i] + b * ln_q[i]) } else { 0.0 };
        }
    }

    /// Adds the derivatives by the logits, times the factor of each voxel: `factors` gives those of a channel of regions, or
    /// of all channels.
    pub(in crate::loss) fn add_gradient<'a>(
        &self,
        run: &Run,
        factors: impl Fn(usize) -> &'a [f32],
        gradient: &mut RunGradient,
    ) {
        let n = run.length;
        let mut total = [0.0f32; RUN];
        if !run.of_regions() {
            for c in 0..run.channels() {
                let (of, t) = (self.factors(run, c), run.targets.row(c, n));
                for i in 0..n {
                    total[i] += of(t[i]).0;
                }
            }
        }
        for c in 0..run.channels() {
            let of = self.factors(run, c);
            let (t, p, factor) = (run.targets.row(c, n), run.probabilities.row(c, n), factors(c));
            let out = gradient.by_logit.row_mut(c, n);
            for i in 0..n {
                let (a, b) = of(t[i]);
                let sum = if run.of_regions() { a + b } else { total[i] };
                out[i] += (sum * p[i] - a) * factor[i];
            }
        }
    }
}

/// Mean over the voxels that count.
pub(in crate::loss) struct MeanCrossEntropy {
    voxels: CrossEntropy,
    /// What the sum is divided by, where it does not follow from the weights of the voxels' classes.
    divisor: Option<f64>,
    by_voxel: f64,
}

impl MeanCrossEntropy {
    pub(in crate::loss) fn new(spec: &CrossEntropySpec, field: &Field<'_>) -> Result<Self, LossError> {
        let counted = field.counted() as f64;
        let divisor = match (field.of_regions(), field.has_ignore()) {
            // nnU-Net divides a sum over regions by the number of voxels here.
            (true, true) => Some(counted),
            (true, false) => Some(counted * field.channels() as f64),
            (false, _) => spec.class_weights.is_none().then_some(counted),
        };
        Ok(Self { voxels: CrossEntropy::new(spec, field)?, divisor, by_voxel: 0.0 })
    }
}

impl Term for MeanCrossEntropy {
    fn width(&self) -> usize {
        2
    }

    fn add_sums(&self, run: &Run, sums: &mut [f64]) {
        let mut values = [0.0f32; RUN];
        for c in 0..run.channels() {
            self.voxels.add_channel(run, c, &mut values[..run.length]);
        }
        sums[0] += run_sum(run.length, |i| values[i]);
        if self.divisor.is_none() {
            for (c, &weight) in self.voxels.weights.iter().enumerate() {
                let t = run.targets.row(c, run.length);
                sums[1] += f64::from(weight) * run_sum(run.length, |i| t[i]);
            }
        }
    }

    fn finish(&mut self, sums: &[f64]) -> f64 {
        let total = |at: usize| sums.iter().skip(at).step_by(2).sum::<f64>();
        let divisor = self.divisor.unwrap_or_else(|| total(1));
        self.by_voxel = if divisor > 0.0 { 1.0 / divisor } else { 0.0 };
        if divisor > 0.0 { total(0) / divisor } else { 0.0 }
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let factor = [(weight * self.by_voxel) as f32; RUN];
        self.voxels.add_gradient(run, |_| &factor, gradient);
    }
}

/// One weight per channel, 1 where none are given.
pub(in crate::loss) fn class_weights(
    weights: Option<&[f64]>,
    field: &Field<'_>,
) -> Result<Vec<f32>, LossError> {
    let outputs = field.channels();
    match weights {
        None => Ok(vec![1.0; outputs]),
        Some(weights) if weights.len() == outputs => {
            Ok(weights.iter().map(|&weight| weight as f32).collect())
        }
        Some(weights) => Err(LossError::ClassWeights { weights: weights.len(), outputs }),
    }
}

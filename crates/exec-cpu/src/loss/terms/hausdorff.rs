//! Hausdorff-distance loss: the mean of squared errors times powers of the distances to both surfaces.

use nnunet_graph::loss::HausdorffSpec;
use rayon::prelude::*;

use crate::loss::block::run_sum;
use crate::loss::distance::distances;
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

pub(in crate::loss) struct Hausdorff {
    classes: usize,
    first_class: usize,
    /// Factor of the squared error of each voxel by sample and class, sample-major; empty for classes that do not count.
    factors: Vec<Vec<f32>>,
    by_value: f64,
}

impl Hausdorff {
    pub(in crate::loss) fn new(spec: &HausdorffSpec, field: &Field<'_>) -> Self {
        let (classes, first_class) = (field.channels(), field.first_class(spec.background));
        let probabilities = field.probabilities();
        let of_class = |sample: usize, class: usize| {
            if class < first_class {
                return Vec::new();
            }
            let predicted: Vec<bool> =
                probabilities.channel(sample, class).iter().map(|p| *p > 0.5).collect();
            let mut factors = vec![0.0; predicted.len()];
            for mask in [predicted, field.members(sample, class)] {
                add_powers(&mut factors, &mask, field.volume(), spec);
            }
            factors
        };
        let factors =
            (0..field.samples()).flat_map(|n| (0..classes).map(move |c| (n, c))).map(|(n, c)| of_class(n, c));
        let values = field.counted() * (classes - first_class.min(classes));
        Self { classes, first_class, factors: factors.collect(), by_value: 1.0 / values.max(1) as f64 }
    }

    /// Factors of the voxels of a run, class by class.
    fn rows<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = (usize, &'a [f32])> {
        let of_class = |c: usize| &self.factors[run.sample * self.classes + c];
        (self.first_class..self.classes).map(move |c| (c, &of_class(c)[run.start..run.start + run.length]))
    }
}

impl Term for Hausdorff {
    fn width(&self) -> usize {
        1
    }

    fn add_sums(&self, run: &Run, sums: &mut [f64]) {
        let (n, counts) = (run.length, run.counts());
        for (c, factor) in self.rows(run) {
            let (p, t) = (run.probabilities.row(c, n), run.targets.row(c, n));
            sums[0] += run_sum(n, |i| {
                let error = p[i] - t[i];
                error * error * factor[i] * counts[i]
            });
        }
    }

    fn finish(&mut self, sums: &[f64]) -> f64 {
        sums.iter().sum::<f64>() * self.by_value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let (n, share) = (run.length, (2.0 * weight * self.by_value) as f32);
        for (c, factor) in self.rows(run) {
            let (p, t) = (run.probabilities.row(c, n), run.targets.row(c, n));
            let out = gradient.by_probability.row_mut(c, n);
            for i in 0..n {
                out[i] += share * (p[i] - t[i]) * factor[i];
            }
        }
    }
}

/// Adds the power of each voxel's distance to the other side of the surface of `mask`, which may have none.
fn add_powers(factors: &mut [f32], mask: &[bool], shape: [usize; 3], spec: &HausdorffSpec) {
    let to = |wanted| distances(mask, wanted, shape, spec.spacing);
    let (Some(outside), Some(inside)) = (to(true), to(false)) else { return };
    let alpha = spec.alpha as f32;
    // Of the two distances, one is 0 at each voxel.
    factors.par_iter_mut().zip(outside).zip(inside).with_min_len(1 << 14).for_each(
        |((factor, outside), inside)| {
            let distance = outside + inside;
            *factor += if alpha == 2.0 { distance * distance } else { distance.powf(alpha) };
        },
    );
}

//! Boundary loss: the mean of probabilities times signed distances to the target's surface.

use nnunet_graph::loss::BoundarySpec;

use crate::loss::block::run_sum;
use crate::loss::distance::distances;
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

pub(in crate::loss) struct Boundary {
    classes: usize,
    first_class: usize,
    /// Signed distances by sample and class, sample-major; empty where there is no surface.
    distances: Vec<Vec<f32>>,
    by_value: f64,
}

impl Boundary {
    pub(in crate::loss) fn new(spec: &BoundarySpec, field: &Field<'_>) -> Self {
        let (classes, first_class) = (field.channels(), field.first_class(spec.background));
        let of_class = |sample: usize, class: usize| match class < first_class {
            true => Vec::new(),
            false => signed_distances(&field.members(sample, class), field.volume(), spec.spacing),
        };
        let distances =
            (0..field.samples()).flat_map(|n| (0..classes).map(move |c| (n, c))).map(|(n, c)| of_class(n, c));
        let values = field.counted() * (classes - first_class.min(classes));
        Self { classes, first_class, distances: distances.collect(), by_value: 1.0 / values.max(1) as f64 }
    }

    /// Distances of the voxels of a run, class by class, where there are any.
    fn rows<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = (usize, &'a [f32])> {
        let of_class = |c: usize| &self.distances[run.sample * self.classes + c];
        (self.first_class..self.classes)
            .map(move |c| (c, of_class(c)))
            .filter(|(_, distances)| !distances.is_empty())
            .map(|(c, distances)| (c, &distances[run.start..run.start + run.length]))
    }
}

impl Term for Boundary {
    fn width(&self) -> usize {
        1
    }

    fn add_sums(&self, run: &Run, sums: &mut [f64]) {
        let counts = run.counts();
        for (c, distance) in self.rows(run) {
            let p = run.probabilities.row(c, run.length);
            sums[0] += run_sum(run.length, |i| p[i] * distance[i] * counts[i]);
        }
    }

    fn finish(&mut self, sums: &[f64]) -> f64 {
        sums.iter().sum::<f64>() * self.by_value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let factor = (weight * self.by_value) as f32;
        for (c, distance) in self.rows(run) {
            let out = gradient.by_probability.row_mut(c, run.length);
            out.iter_mut().zip(distance).for_each(|(out, distance)| *out += factor * distance);
        }
    }
}

/// Outside, the distance to the mask; inside, 1 minus the distance to the outside. Empty where all is inside or outside.
fn signed_distances(mask: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f32> {
    let to = |wanted| distances(mask, wanted, shape, spacing);
    let (Some(mut outside), Some(inside)) = (to(true), to(false)) else { return Vec::new() };
    for ((distance, inside), &member) in outside.iter_mut().zip(inside).zip(mask) {
        *distance = if member { 1.0 - inside } else { *distance };
    }
    outside
}

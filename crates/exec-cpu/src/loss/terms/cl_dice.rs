//! Soft clDice: how much of each skeleton lies in the other segmentation.

use nnunet_graph::Tensor;
use nnunet_graph::loss::ClDiceSpec;
use rayon::prelude::*;

use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::skeleton::Skeleton;
use crate::loss::sum_of_terms::Term;

pub(in crate::loss) struct ClDice {
    classes: usize,
    first_class: usize,
    value: f64,
    /// Derivatives by the probabilities, by sample and class, sample-major; empty where there are none or none are wanted.
    gradients: Vec<Vec<f32>>,
}

/// One class of one sample.
struct Structure {
    predicted: Skeleton,
    reference: Vec<f32>,
    reference_skeleton: Vec<f32>,
    sums: Sums,
}

/// Sums over voxels.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// The prediction's skeleton, within the reference and at all.
    predicted: [f64; 2],
    /// The reference's skeleton, within the prediction and at all.
    reference: [f64; 2],
}

impl ClDice {
    pub(in crate::loss) fn new(spec: &ClDiceSpec, field: &Field<'_>, with_gradient: bool) -> Self {
        let (samples, classes) = (field.samples(), field.channels());
        let first_class = field.first_class(spec.background);
        let probabilities = field.probabilities();
        let groups = if spec.batch_dice { 1 } else { samples };
        let share = 1.0 / (groups * (classes - first_class.min(classes))).max(1) as f64;
        let mut value = 0.0;
        let mut gradients = vec![Vec::new(); samples * classes];
        for class in first_class..classes {
            for group in 0..groups {
                let members = if spec.batch_dice { 0..samples } else { group..group + 1 };
                let structures: Vec<Structure> = members
                    .clone()
                    .map(|sample| Structure::new(&probabilities, field, sample, class, spec.iterations))
                    .collect();
                let mut sums = Sums::default();
                structures.iter().for_each(|structure| sums.add(structure.sums));
                let (of_group, derivatives) = score(sums, spec.smooth);
                value += share * of_group;
                if with_gradient {
                    for (sample, structure) in members.zip(structures) {
                        gradients[sample * classes + class] = structure.gradient(derivatives, share);
                    }
                }
            }
        }
        Self { classes, first_class, value, gradients }
    }
}

impl Structure {
    fn new(
        probabilities: &Tensor,
        field: &Field<'_>,
        sample: usize,
        class: usize,
        iterations: usize,
    ) -> Self {
        let volume = field.volume();
        let image = probabilities.channel(sample, class);
        let reference: Vec<f32> =
            field.members(sample, class).into_iter().map(|member| f32::from(u8::from(member))).collect();
        let predicted = Skeleton::new(image, volume, iterations);
        let reference_skeleton = Skeleton::new(&reference, volume, iterations).values().to_vec();
        let ones = vec![1.0f32; reference.len()];
        let sums = Sums {
            predicted: [dot(predicted.values(), &reference), dot(predicted.values(), &ones)],
            reference: [dot(&reference_skeleton, image), dot(&reference_skeleton, &ones)],
        };
        Self { predicted, reference, reference_skeleton, sums }
    }

    /// By the probabilities, with `derivatives` those by the sums.
    fn gradient(self, derivatives: Sums, share: f64) -> Vec<f32> {
        let [within, any] = derivatives.predicted.map(|slope| (slope * share) as f32);
        let direct = (derivatives.reference[0] * share) as f32;
        let by_skeleton = self.reference.iter().map(|t| within * t + any).collect();
        let mut gradient = self.predicted.gradient(by_skeleton);
        gradient.iter_mut().zip(&self.reference_skeleton).for_each(|(g, s)| *g += direct * s);
        gradient
    }
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.predicted.iter_mut().zip(other.predicted).for_each(|(a, b)| *a += b);
        self.reference.iter_mut().zip(other.reference).for_each(|(a, b)| *a += b);
    }
}

/// 1 minus the harmonic mean of both shares, and its derivatives by the sums.
fn score(sums: Sums, smooth: f64) -> (f64, Sums) {
    // Without smoothing, a skeleton that is empty has no share in anything.
    const CLAMP: f64 = 1e-8;
    let share = |[within, any]: [f64; 2]| {
        let any = (any + smooth).max(CLAMP);
        let share = (within + smooth) / any;
        (share, [1.0 / any, -share / any])
    };
    let (precision, by_predicted) = share(sums.predicted);
    let (sensitivity, by_reference) = share(sums.reference);
    let sum = (precision + sensitivity).max(CLAMP);
    let slope = |other: f64, by: [f64; 2]| by.map(|by| -2.0 * other * other / (sum * sum) * by);
    let derivatives =
        Sums { predicted: slope(sensitivity, by_predicted), reference: slope(precision, by_reference) };
    (1.0 - 2.0 * precision * sensitivity / sum, derivatives)
}

/// Sum of products, in an order that does not depend on the number of threads.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let of_chunk =
        |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let parts: Vec<f64> = a.par_chunks(1 << 14).zip(b.par_chunks(1 << 14)).map(of_chunk).collect();
    parts.iter().sum()
}

impl Term for ClDice {
    fn finish(&mut self, _sums: &[f64]) -> f64 {
        self.value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let weight = weight as f32;
        for c in self.first_class..self.classes {
            let of_class = &self.gradients[run.sample * self.classes + c];
            let out = gradient.by_probability.row_mut(c, run.length);
            out.iter_mut().zip(&of_class[run.start..]).for_each(|(out, g)| *out += weight * g);
        }
    }
}

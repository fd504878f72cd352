//! Losses of sums over classes: soft Dice and Tversky.

use nnunet_graph::loss::{DiceSpec, TverskySpec};

use crate::loss::block::run_sum;
use crate::loss::dice::{ClassDerivatives, ClassSums, Groups, Score, dice_score, overlap_loss};
use crate::loss::field::Field;
use crate::loss::run::{Run, RunGradient};
use crate::loss::sum_of_terms::Term;

/// The mean over classes of a function of their sums.
pub(in crate::loss) struct Overlap<F> {
    groups: Groups,
    /// Whether sums of predictions are those of squared probabilities.
    squared: bool,
    score: F,
    derivatives: Vec<ClassDerivatives>,
}

pub(in crate::loss) fn dice(
    spec: &DiceSpec,
    field: &Field<'_>,
) -> Overlap<impl Fn(ClassSums) -> Score + Send + Sync + use<>> {
    let smooth = spec.smooth;
    Overlap {
        groups: groups(field, spec.background, spec.batch_dice),
        squared: spec.squared,
        score: move |sums| dice_score(sums, smooth),
        derivatives: Vec::new(),
    }
}

pub(in crate::loss) fn tversky(
    spec: &TverskySpec,
    field: &Field<'_>,
) -> Overlap<impl Fn(ClassSums) -> Score + Send + Sync + use<>> {
    let TverskySpec { alpha, beta, gamma, smooth, .. } = *spec;
    Overlap {
        groups: groups(field, spec.background, spec.batch_dice),
        squared: false,
        score: move |sums| tversky_score(sums, [alpha, beta], gamma, smooth),
        derivatives: Vec::new(),
    }
}

fn groups(field: &Field<'_>, background: bool, batch: bool) -> Groups {
    Groups { classes: field.channels(), first_class: field.first_class(background), batch }
}

/// Smallest denominator, and smallest distance of an index from 1 where its root has a derivative.
const CLAMP: f64 = 1e-8;

/// (1 - index)^(1 / gamma).
fn tversky_score(sums: ClassSums, [alpha, beta]: [f64; 2], gamma: f64, smooth: f64) -> Score {
    let ClassSums { intersection, predicted, reference } = sums;
    let numerator = intersection + smooth;
    let sum = intersection + alpha * (predicted - intersection) + beta * (reference - intersection) + smooth;
    let denominator = sum.max(CLAMP);
    let by_sum = if sum > CLAMP { -numerator / (denominator * denominator) } else { 0.0 };
    let distance = 1.0 - numerator / denominator;
    // Rounding may take the distance below 0. At 0 the root of the focal form has no derivative.
    let power = if distance < 0.0 { 0.0 } else { distance.powf(1.0 / gamma) };
    let slope = match gamma == 1.0 {
        true => 1.0,
        false => distance.max(CLAMP).powf(1.0 / gamma - 1.0) / gamma,
    };
    Score {
        value: if gamma == 1.0 { distance } else { power },
        by_intersection: -slope * (1.0 / denominator + by_sum * (1.0 - alpha - beta)),
        by_predicted: -slope * by_sum * alpha,
    }
}

impl<F: Fn(ClassSums) -> Score + Send + Sync> Term for Overlap<F> {
    fn width(&self) -> usize {
        3 * self.groups.classes
    }

    fn add_sums(&self, run: &Run, sums: &mut [f64]) {
        let (n, counts) = (run.length, run.counts());
        let channels = self.groups.first_class..self.groups.classes;
        for (c, sums) in sums.chunks_exact_mut(3).enumerate().filter(|(c, _)| channels.contains(c)) {
            let (p, t) = (run.probabilities.row(c, n), run.targets.row(c, n));
            sums[0] += run_sum(n, |i| p[i] * t[i]);
            sums[1] += match self.squared {
                false => run_sum(n, |i| p[i] * counts[i]),
                true => run_sum(n, |i| p[i] * p[i] * counts[i]),
            };
            sums[2] += run_sum(n, |i| t[i]);
        }
    }

    fn finish(&mut self, sums: &[f64]) -> f64 {
        let of_class = |s: &[f64]| ClassSums { intersection: s[0], predicted: s[1], reference: s[2] };
        let sums: Vec<ClassSums> = sums.chunks_exact(3).map(of_class).collect();
        let (value, derivatives) = overlap_loss(&sums, self.groups, &self.score);
        self.derivatives = derivatives;
        value
    }

    fn add_gradient(&self, run: &Run, weight: f64, gradient: &mut RunGradient) {
        let n = run.length;
        for c in self.groups.first_class..self.groups.classes {
            let of_class = self.derivatives[run.sample * self.groups.classes + c];
            let hit = (of_class.intersection * weight) as f32;
            let any = (of_class.predicted * weight) as f32;
            let (p, t) = (run.probabilities.row(c, n), run.targets.row(c, n));
            let out = gradient.by_probability.row_mut(c, n);
            for i in 0..n {
                let power = if self.squared { 2.0 * p[i] } else { 1.0 };
                out[i] += hit * t[i] + any * power;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_of_tversky_are_differences_of_its_value() {
        for gamma in [1.0, 4.0 / 3.0, 2.0] {
            let sums = ClassSums { intersection: 2.0, predicted: 5.0, reference: 3.5 };
            let value = |by: f64, also: f64| {
                let (intersection, predicted) = (sums.intersection + by, sums.predicted + also);
                tversky_score(ClassSums { intersection, predicted, ..sums }, [0.3, 0.7], gamma, 1e-5).value
            };
            let score = tversky_score(sums, [0.3, 0.7], gamma, 1e-5);
            assert!(((value(1e-5, 0.0) - value(-1e-5, 0.0)) / 2e-5 - score.by_intersection).abs() < 1e-9);
            assert!(((value(0.0, 1e-5) - value(0.0, -1e-5)) / 2e-5 - score.by_predicted).abs() < 1e-9);
        }
        let perfect = ClassSums { intersection: 3.0, predicted: 3.0, reference: 3.0 };
        let score = tversky_score(perfect, [0.3, 0.7], 4.0 / 3.0, 1e-5);
        assert!(score.value < 1e-6 && score.by_intersection.is_finite(), "{score:?}");
    }
}

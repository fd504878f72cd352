//! Losses of sums over classes: soft Dice and Tversky.

use nnunet_graph::loss::{DiceSpec, TverskySpec};

use crate::loss::block::run_sum;
use crate::loss::field::Field;
use crate::loss::overlap::{
    ClassDerivatives, ClassSums, Groups, Score, dice_score, overlap_loss, tversky_score,
};
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

//! Losses of sums over classes: soft Dice and Tversky.

use nnunet_exec_cpu::loss::overlap::{
    ClassDerivatives, ClassSums, Groups, Score, dice_score, overlap_loss, tversky_score,
};
use nnunet_graph::loss::{DiceSpec, TverskySpec};

use super::Term;
use super::field::{Field, FieldGradient};
use crate::interface::{Tensor, TorchError};

/// The mean over classes of a function of their sums.
pub(super) struct Overlap<F> {
    groups: Groups,
    /// Whether sums of predictions are those of squared probabilities.
    squared: bool,
    score: F,
    derivatives: Vec<ClassDerivatives>,
}

pub(super) fn dice(spec: &DiceSpec, field: &Field) -> Overlap<impl Fn(ClassSums) -> Score + use<>> {
    let smooth = spec.smooth;
    Overlap {
        groups: groups(field, spec.background, spec.batch_dice),
        squared: spec.squared,
        score: move |sums| dice_score(sums, smooth),
        derivatives: Vec::new(),
    }
}

pub(super) fn tversky(spec: &TverskySpec, field: &Field) -> Overlap<impl Fn(ClassSums) -> Score + use<>> {
    let TverskySpec { alpha, beta, gamma, smooth, .. } = *spec;
    Overlap {
        groups: groups(field, spec.background, spec.batch_dice),
        squared: false,
        score: move |sums| tversky_score(sums, [alpha, beta], gamma, smooth),
        derivatives: Vec::new(),
    }
}

fn groups(field: &Field, background: bool, batch: bool) -> Groups {
    Groups { classes: field.channels, first_class: field.first_class(background), batch }
}

impl<F: Fn(ClassSums) -> Score> Term for Overlap<F> {
    fn sums(&mut self, field: &Field) -> Result<Vec<Tensor>, TorchError> {
        let p = &field.probabilities;
        let predicted = match self.squared {
            false => field.where_counted(p)?,
            true => field.where_counted(&p.times(p)?)?,
        };
        Ok(vec![field.sums(&p.times(&field.targets)?)?, field.sums(&predicted)?, field.sums(&field.targets)?])
    }

    fn finish(&mut self, numbers: &[f64], field: &Field) -> f64 {
        let count = field.samples * field.channels;
        let of = |i: usize| ClassSums {
            intersection: numbers[i],
            predicted: numbers[count + i],
            reference: numbers[2 * count + i],
        };
        let sums: Vec<ClassSums> = (0..count).map(of).collect();
        let (value, derivatives) = overlap_loss(&sums, self.groups, &self.score);
        self.derivatives = derivatives;
        value
    }

    fn add_gradient(
        &self,
        field: &Field,
        weight: f64,
        gradient: &mut FieldGradient,
    ) -> Result<(), TorchError> {
        let by = |of: fn(&ClassDerivatives) -> f64| {
            let numbers: Vec<f64> =
                self.derivatives.iter().map(|derivatives| of(derivatives) * weight).collect();
            field.coefficients(&numbers)
        };
        let hit = field.targets.times(&by(|d| d.intersection)?)?;
        let any = by(|d| d.predicted)?;
        let by_probability = match self.squared {
            false => hit.plus(&any, 1.0)?,
            true => hit.plus(&field.probabilities.times(&any)?, 2.0)?,
        };
        gradient.add_by_probability(by_probability)
    }
}

//! The difference of two models over the cases that both have.

use nnunet_assess::statistics::{Bootstrap, SignedRank, mean, median, rank_biserial};
use nnunet_base::Ctx;

use super::trained::ModelResult;

/// The difference of a model to the baseline in the mean Dice of a case, over the cases that both have. Intervals are at
/// 95 %, by bootstrap over cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Number of cases that both have.
    pub pairs: usize,
    /// Cases that only one of them has, or for which a Dice is not defined.
    pub left_out: usize,
    /// Mean of the differences, model minus baseline.
    pub mean: f64,
    /// Its interval.
    pub mean_interval: [f64; 2],
    /// Median of the differences.
    pub median: f64,
    /// Its interval.
    pub median_interval: [f64; 2],
    /// Rank-biserial correlation, from -1 (worse in every case) to 1 (better in every case).
    pub rank_biserial: f64,
    /// Its interval.
    pub rank_biserial_interval: [f64; 2],
    /// Two-sided p of Wilcoxon's signed-rank test.
    pub p: f64,
    /// The same corrected for the number of models, by Holm.
    pub p_holm: f64,
}

impl Difference {
    /// Compares `model` with `baseline` over the classes that both have.
    pub(super) fn new(
        model: &ModelResult,
        baseline: &ModelResult,
        bootstrap: &Bootstrap,
        ctx: Ctx<'_>,
    ) -> Self {
        let shared: Vec<(usize, usize)> = (0..model.classes.len())
            .filter_map(|i| {
                let class = &model.classes[i].0;
                Some((i, baseline.classes.iter().position(|(other, _)| other == class)?))
            })
            .collect();
        if shared.len() < model.classes.len().max(baseline.classes.len()) {
            ctx.warning(&format!(
                "{}: its classes are not those of {}; the difference is that of the {} that both have",
                model.name,
                baseline.name,
                shared.len()
            ));
        }
        let differences: Vec<f64> = model
            .cases
            .iter()
            .filter_map(|(case, dice)| {
                let other = baseline.cases.get(case)?;
                let own = mean_of_defined(shared.iter().map(|(i, _)| dice[*i]))?;
                Some(own - mean_of_defined(shared.iter().map(|(_, i)| other[*i]))?)
            })
            .collect();
        let common = model.cases.keys().filter(|case| baseline.cases.contains_key(*case)).count();
        let all = model.cases.len() + baseline.cases.len() - common;
        let p = SignedRank::new(&differences).p;
        let [mean_interval, median_interval, rank_biserial_interval] =
            bootstrap.intervals(differences.len(), |drawn| {
                let drawn: Vec<f64> = drawn.iter().map(|&i| differences[i as usize]).collect();
                [mean(&drawn), median(&drawn), rank_biserial(&drawn)]
            });
        Self {
            pairs: differences.len(),
            left_out: all - differences.len(),
            mean: mean(&differences),
            mean_interval,
            median: median(&differences),
            median_interval,
            rank_biserial: rank_biserial(&differences),
            rank_biserial_interval,
            p,
            p_holm: p,
        }
    }
}

/// The mean of what is not NaN; `None` if nothing is left.
fn mean_of_defined(values: impl Iterator<Item = f64>) -> Option<f64> {
    let defined: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    (!defined.is_empty()).then(|| mean(&defined))
}

//! Effects of groups, measured on the reference and on the prediction.

use nnunet_pyformats::json::Json;

use super::output::{count, interval, numbers};
use crate::statistics::{
    Bootstrap, Test, hedges_g, mann_whitney, mean, standard_deviation, subjects_for_groups, welch,
};

/// The difference between two groups, on one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Means of the two groups.
    pub means: [f64; 2],
    /// Difference of the means in ml, with Welch's test.
    pub test: Test,
    /// The same relative to the mean of the first group; NaN of changes, whose mean may be close to 0.
    pub relative: f64,
    /// Hedges' g.
    pub g: f64,
    /// p of Mann and Whitney.
    pub rank_p: f64,
    /// Subjects per group for 80 % power.
    pub subjects: Option<u64>,
}

/// What a group does to an outcome, compared with the first group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupEffect {
    /// What is compared: `volume at 2`, `change from 1 to 2`.
    pub outcome: String,
    /// Names of the groups: the first one and the one compared with it.
    pub groups: [String; 2],
    /// Subjects in them.
    pub sizes: [usize; 2],
    /// As the reference shows it.
    pub reference: Effect,
    /// As the prediction shows it.
    pub prediction: Effect,
    /// Effect in ml by the prediction over that by the reference.
    pub ratio: f64,
    /// Its bootstrap interval over subjects.
    pub ratio_interval: [f64; 2],
    /// The same ratio of Hedges' g.
    pub g_ratio: f64,
    /// Its bootstrap interval over subjects.
    pub g_ratio_interval: [f64; 2],
    /// Mean relative volume errors in the two groups.
    pub errors: [f64; 2],
    /// Their difference: whether the error depends on the group.
    pub error_test: Test,
}

/// What an outcome is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// A volume.
    Volume,
    /// A difference of two volumes.
    Change,
}

/// One subject of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) reference: f64,
    pub(super) prediction: f64,
    /// Relative volume error, NaN without a reference.
    pub(super) error: f64,
}

impl Effect {
    fn new(a: &[f64], b: &[f64], measure: Measure) -> Self {
        let test = welch(a, b);
        let g = hedges_g(a, b);
        let pooled = ((standard_deviation(a).powi(2) + standard_deviation(b).powi(2)) / 2.0).sqrt();
        Self {
            means: [mean(a), mean(b)],
            relative: match measure {
                Measure::Volume => test.difference / mean(a),
                Measure::Change => f64::NAN,
            },
            g,
            rank_p: mann_whitney(a, b),
            subjects: subjects_for_groups(test.difference / pooled),
            test,
        }
    }

    fn to_json(&self, groups: &[String; 2]) -> Json {
        let means = groups.iter().cloned().zip(self.means.map(Json::Float));
        let mut entries =
            vec![("mean", Json::object(means)), ("difference_interval", interval(self.test.interval))];
        entries.extend(numbers([
            ("difference", self.test.difference),
            ("relative_difference", self.relative),
            ("welch_t", self.test.t),
            ("welch_p", self.test.p),
            ("mann_whitney_p", self.rank_p),
            ("hedges_g", self.g),
        ]));
        entries.push(("subjects_per_group_for_80_percent_power", count(self.subjects)));
        Json::object(entries)
    }
}

impl GroupEffect {
    /// Compares group `b` with `a`; `None` where one has fewer than two subjects.
    pub(super) fn new(
        outcome: String,
        measure: Measure,
        groups: [String; 2],
        [a, b]: [&[Outcome]; 2],
        bootstrap: &Bootstrap,
    ) -> Option<Self> {
        if a.len() < 2 || b.len() < 2 {
            return None;
        }
        let side = |of: fn(&Outcome) -> f64| {
            let values = |group: &[Outcome]| group.iter().map(of).collect::<Vec<_>>();
            (values(a), values(b))
        };
        let (reference, prediction) = (side(|o| o.reference), side(|o| o.prediction));
        let errors = |group: &[Outcome]| -> Vec<f64> {
            group.iter().map(|o| o.error).filter(|error| !error.is_nan()).collect()
        };
        let (errors_a, errors_b) = (errors(a), errors(b));
        // Both groups are drawn from together, as the subjects were; a draw without one of them has no ratio.
        let both: Vec<(bool, Outcome)> =
            a.iter().map(|o| (false, *o)).chain(b.iter().map(|o| (true, *o))).collect();
        let ratios = |drawn: &[u32]| {
            let pick = |second: bool, of: fn(&Outcome) -> f64| -> Vec<f64> {
                let those = drawn.iter().map(|&i| &both[i as usize]).filter(|(group, _)| *group == second);
                those.map(|(_, outcome)| of(outcome)).collect()
            };
            let [ra, rb] = [pick(false, |o| o.reference), pick(true, |o| o.reference)];
            let [pa, pb] = [pick(false, |o| o.prediction), pick(true, |o| o.prediction)];
            [(mean(&pb) - mean(&pa)) / (mean(&rb) - mean(&ra)), hedges_g(&pa, &pb) / hedges_g(&ra, &rb)]
        };
        let [ratio_interval, g_ratio_interval] = bootstrap.intervals(both.len(), ratios);
        let reference = Effect::new(&reference.0, &reference.1, measure);
        let prediction = Effect::new(&prediction.0, &prediction.1, measure);
        Some(Self {
            outcome,
            groups,
            sizes: [a.len(), b.len()],
            ratio: prediction.test.difference / reference.test.difference,
            ratio_interval,
            g_ratio: prediction.g / reference.g,
            g_ratio_interval,
            errors: [mean(&errors_a), mean(&errors_b)],
            error_test: welch(&errors_a, &errors_b),
            reference,
            prediction,
        })
    }

    pub(super) fn to_json(&self) -> Json {
        let per_group = |values: [Json; 2]| Json::object(self.groups.iter().cloned().zip(values));
        let mut entries = vec![
            ("outcome", Json::from(self.outcome.as_str())),
            ("compared", Json::from(format!("{1} against {0}", self.groups[0], self.groups[1]).as_str())),
            ("subjects", per_group(self.sizes.map(|n| Json::Int(n as i64)))),
            ("reference", self.reference.to_json(&self.groups)),
            ("prediction", self.prediction.to_json(&self.groups)),
            ("relative_error", per_group(self.errors.map(Json::Float))),
        ];
        entries.extend(numbers([
            ("effect_ratio", self.ratio),
            ("hedges_g_ratio", self.g_ratio),
            ("relative_error_difference", self.error_test.difference),
            ("relative_error_difference_p", self.error_test.p),
        ]));
        entries.push(("effect_ratio_interval", interval(self.ratio_interval)));
        entries.push(("hedges_g_ratio_interval", interval(self.g_ratio_interval)));
        Json::object(entries)
    }
}

//! Changes of volumes over time, from a subject's first to its last time point.

use nnunet_pyformats::json::Json;

use super::agreement::bland_altman;
use super::output::{count, interval, numbers};
use super::report::Visit;
use crate::statistics::{
    BlandAltman, Bootstrap, Test, concordance, mean, one_sample, standard_deviation, subjects_for_pairs,
};

/// How well changes are measured. The limits of agreement stand for the smallest change that can be told from error.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Whether changes are differences of logarithms (all volumes are positive), or else of ml.
    pub logarithms: bool,
    /// Changes of the prediction against those of the reference, in ml.
    pub bland_altman: BlandAltman,
    /// Lin's concordance of the changes in ml.
    pub ccc: f64,
    /// Share of subjects whose change has the same sign.
    pub same_sign: f64,
    /// Of the subjects whose reference changes by at least the threshold: the share whose prediction does, in that direction.
    /// NaN if there are none.
    pub sensitivity: f64,
    /// The same for subjects whose reference does not, and whose prediction does not either.
    pub specificity: f64,
    /// Mean change of the reference.
    pub reference: Test,
    /// Mean change of the prediction.
    pub prediction: Test,
    /// Mean / standard deviation of the changes of the reference.
    pub effect_reference: f64,
    /// The same of the prediction.
    pub effect_prediction: f64,
    /// How much more the changes spread in the prediction: its standard deviation over the reference's.
    pub spread_ratio: f64,
    /// Its bootstrap interval over subjects.
    pub spread_interval: [f64; 2],
    /// Subjects for 80 % power by the reference.
    pub subjects_reference: Option<u64>,
    /// Subjects for 80 % power by the prediction.
    pub subjects_prediction: Option<u64>,
    /// Relative volume error at the last minus at the first time: whether the error depends on time.
    pub error_change: Test,
}

impl Change {
    /// `visits` are pairs of (first, last) of one subject each; `None` for fewer than two.
    pub(super) fn new(visits: &[Visit<'_>], threshold: f64, bootstrap: &Bootstrap) -> Option<Self> {
        if visits.len() < 2 {
            return None;
        }
        let logarithms = visits.iter().all(|visit| {
            [visit.first, visit.last].iter().all(|case| case.ml_ref > 0.0 && case.ml_pred > 0.0)
        });
        let changes = |ml: &dyn Fn(&Visit<'_>) -> (f64, f64), logarithms: bool| -> Vec<f64> {
            let change =
                |(first, last): (f64, f64)| if logarithms { (last / first).ln() } else { last - first };
            visits.iter().map(|visit| change(ml(visit))).collect()
        };
        let of_reference = |visit: &Visit<'_>| (visit.first.ml_ref, visit.last.ml_ref);
        let of_prediction = |visit: &Visit<'_>| (visit.first.ml_pred, visit.last.ml_pred);
        let (truth_ml, seen_ml) = (changes(&of_reference, false), changes(&of_prediction, false));
        let (truth, seen) = (changes(&of_reference, logarithms), changes(&of_prediction, logarithms));
        let same_sign = truth.iter().zip(&seen).filter(|(a, b)| a.signum() == b.signum()).count();
        // Relative to the first volume: -1, 0 or 1.
        let beyond = |(first, last): (f64, f64)| match (last - first) / first {
            change if change >= threshold => 1,
            change if change <= -threshold => -1,
            _ => 0,
        };
        let classes: Vec<(i32, i32)> =
            visits.iter().map(|visit| (beyond(of_reference(visit)), beyond(of_prediction(visit)))).collect();
        let share = |changed: bool| {
            let those: Vec<_> = classes.iter().filter(|(truth, _)| (*truth != 0) == changed).collect();
            those.iter().filter(|(truth, seen)| truth == seen).count() as f64 / those.len() as f64
        };
        let errors: Vec<f64> = visits
            .iter()
            .filter_map(|visit| Some(visit.last.relative_error()? - visit.first.relative_error()?))
            .collect();
        let effect = |values: &[f64]| mean(values) / standard_deviation(values);
        let spread = |drawn: &[u32]| {
            let pick = |all: &[f64]| drawn.iter().map(|&i| all[i as usize]).collect::<Vec<_>>();
            standard_deviation(&pick(&seen)) / standard_deviation(&pick(&truth))
        };
        let (effect_reference, effect_prediction) = (effect(&truth), effect(&seen));
        Some(Self {
            logarithms,
            bland_altman: BlandAltman::new(&truth_ml, &seen_ml),
            ccc: concordance(&truth_ml, &seen_ml),
            same_sign: same_sign as f64 / visits.len() as f64,
            sensitivity: share(true),
            specificity: share(false),
            reference: one_sample(&truth),
            prediction: one_sample(&seen),
            effect_reference,
            effect_prediction,
            spread_ratio: standard_deviation(&seen) / standard_deviation(&truth),
            spread_interval: bootstrap.interval(visits.len(), spread),
            subjects_reference: subjects_for_pairs(effect_reference),
            subjects_prediction: subjects_for_pairs(effect_prediction),
            error_change: one_sample(&errors),
        })
    }

    pub(super) fn to_json(&self) -> Json {
        let side = |test: &Test, effect: f64, subjects: Option<u64>| {
            Json::object([
                ("mean", Json::Float(test.difference)),
                ("interval", interval(test.interval)),
                ("p", Json::Float(test.p)),
                ("effect_size", Json::Float(effect)),
                ("subjects_for_80_percent_power", count(subjects)),
            ])
        };
        let mut entries = vec![
            ("scale", Json::from(if self.logarithms { "log ratio" } else { "ml" })),
            ("bland_altman_ml", bland_altman(&self.bland_altman)),
        ];
        entries.extend(numbers([
            ("ccc", self.ccc),
            ("same_sign", self.same_sign),
            ("sensitivity", self.sensitivity),
            ("specificity", self.specificity),
            ("spread_ratio", self.spread_ratio),
        ]));
        entries.push(("spread_ratio_interval", interval(self.spread_interval)));
        entries.push(("reference", side(&self.reference, self.effect_reference, self.subjects_reference)));
        entries
            .push(("prediction", side(&self.prediction, self.effect_prediction, self.subjects_prediction)));
        entries.extend(numbers([
            ("relative_error_change", self.error_change.difference),
            ("relative_error_change_p", self.error_change.p),
        ]));
        Json::object(entries)
    }
}

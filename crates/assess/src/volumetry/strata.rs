//! Volumes, Dice and further metrics of parts of the cases.

use nnunet_pyformats::json::Json;

use super::output::{interval, numbers};
use super::report::Measured;
use super::subjects::Subjects;
use crate::statistics::{Test, mean, one_sample};

/// A part of the cases: a third by size, a group, a time, or a value of a further column of the table of subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratum {
    /// What the cases are divided by: `size`, `group`, `time`, or a column's name.
    pub by: String,
    /// Which part.
    pub value: String,
    /// Number of cases.
    pub cases: usize,
    /// Mean signed volume error in ml.
    pub error: Test,
    /// Mean relative volume error over cases with a reference.
    pub relative_error: f64,
    /// Means of the metrics over the cases where they are defined: Dice, and what was asked for.
    pub metrics: Vec<(String, f64)>,
}

/// All parts of the cases.
pub(super) fn strata(measured: &[Measured], subjects: Option<&Subjects>) -> Vec<Stratum> {
    let mut parts: Vec<(String, String, Vec<&Measured>)> = Vec::new();
    let mut add = |by: &str, value: &str, case| match parts.iter_mut().find(|(b, v, _)| b == by && v == value)
    {
        Some((_, _, cases)) => cases.push(case),
        None => parts.push((by.to_owned(), value.to_owned(), vec![case])),
    };
    if measured.len() >= 6 {
        let mut by_size: Vec<&Measured> = measured.iter().collect();
        by_size.sort_by(|a, b| a.ml_ref.total_cmp(&b.ml_ref));
        for (i, case) in by_size.iter().enumerate() {
            add("size", ["smallest third", "middle third", "largest third"][i * 3 / by_size.len()], *case);
        }
    }
    if let Some(subjects) = subjects {
        for case in measured {
            let Some(row) = subjects.get(&case.case) else { continue };
            for (by, value) in [("group", &row.group), ("time", &row.time)] {
                if let Some(value) = value {
                    add(by, value, case);
                }
            }
            row.strata.iter().for_each(|(by, value)| add(by, value, case));
        }
    }
    parts.into_iter().map(|(by, value, cases)| Stratum::new(by, value, &cases)).collect()
}

impl Stratum {
    fn new(by: String, value: String, cases: &[&Measured]) -> Self {
        let errors: Vec<f64> = cases.iter().map(|case| case.ml_pred - case.ml_ref).collect();
        let relative: Vec<f64> = cases.iter().filter_map(|case| case.relative_error()).collect();
        let names = cases.first().map_or(&[][..], |case| &case.metrics).iter().map(|(name, _)| name);
        let metrics = names.enumerate().map(|(i, name)| {
            let values: Vec<f64> = cases
                .iter()
                .filter_map(|case| Some(case.metrics.get(i)?.1))
                .filter(|v| !v.is_nan())
                .collect();
            (name.clone(), mean(&values))
        });
        Self {
            by,
            value,
            cases: cases.len(),
            error: one_sample(&errors),
            relative_error: mean(&relative),
            metrics: metrics.collect(),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let mut entries = vec![
            ("by", Json::from(self.by.as_str())),
            ("value", Json::from(self.value.as_str())),
            ("cases", Json::Int(self.cases as i64)),
            ("error_ml_interval", interval(self.error.interval)),
        ];
        entries
            .extend(numbers([("error_ml", self.error.difference), ("relative_error", self.relative_error)]));
        let metrics = self.metrics.iter().map(|(name, value)| (name.clone(), Json::Float(*value)));
        entries.push(("metrics", Json::object(metrics)));
        Json::object(entries)
    }
}

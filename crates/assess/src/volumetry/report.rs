//! The whole comparison of volumes, made from the summary of an evaluation.

use std::path::Path;

use nnunet_dataset::LabelOrRegion;

use super::agreement::Agreement;
use super::change::Change;
use super::group::{GroupEffect, Measure, Outcome};
use super::strata::{Stratum, strata};
use super::subjects::{Subjects, case_name};
use super::verdict::verdict;
use crate::evaluate::Summary;
use crate::statistics::{Bootstrap, mean};

/// What is compared, and by which measures.
#[derive(Debug, Clone)]
pub struct VolumetryOptions {
    /// Subjects, times and groups of the cases.
    pub subjects: Option<Subjects>,
    /// Relative error of the mean volume that does not matter, for the test of equivalence.
    pub margin: f64,
    /// Relative change of a subject's volume that matters.
    pub threshold: f64,
    /// How intervals of ratios are drawn.
    pub bootstrap: Bootstrap,
}

impl Default for VolumetryOptions {
    fn default() -> Self {
        Self { subjects: None, margin: 0.05, threshold: 0.25, bootstrap: Bootstrap::default() }
    }
}

/// The volumes of one class in one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name of the case.
    pub case: String,
    /// Volume of the reference in ml.
    pub ml_ref: f64,
    /// Volume of the prediction in ml.
    pub ml_pred: f64,
    /// Dice and further metrics of the case.
    pub metrics: Vec<(String, f64)>,
}

impl Measured {
    /// (predicted - reference) / reference; `None` without a reference.
    pub fn relative_error(&self) -> Option<f64> {
        (self.ml_ref > 0.0).then(|| (self.ml_pred - self.ml_ref) / self.ml_ref)
    }
}

/// A subject's first and last case.
pub(super) struct Visit<'a> {
    pub(super) first: &'a Measured,
    pub(super) last: &'a Measured,
}

/// The comparison of a class's volumes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassReport {
    /// The class.
    pub class: LabelOrRegion,
    /// Mean Dice over the cases where it is defined.
    pub dice: f64,
    /// Volumes of every case.
    pub cases: Vec<Measured>,
    /// Agreement over all cases.
    pub agreement: Agreement,
    /// Changes over time, if subjects have several time points.
    pub change: Option<Change>,
    /// Effects of groups, if there are several.
    pub groups: Vec<GroupEffect>,
    /// Parts of the cases.
    pub strata: Vec<Stratum>,
    /// What is wrong with the volumes, a sentence each.
    pub verdict: Vec<String>,
}

/// The comparison of all volumes.
#[derive(Debug, Clone)]
pub struct VolumetryReport {
    /// Class by class.
    pub classes: Vec<ClassReport>,
    /// What was left out or could not be done, a line each.
    pub warnings: Vec<String>,
    pub(super) margin: f64,
    pub(super) threshold: f64,
    pub(super) bootstrap: Bootstrap,
}

/// Why volumes cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumetryError {
    /// The summary has no volumes.
    #[error("the summary has no volumes of class {class} in {case}; evaluate with the metric volumes")]
    NoVolumes {
        /// The class.
        class: String,
        /// The case.
        case: String,
    },
}

/// Compares the volumes of an evaluation with the metric `volumes`.
///
/// # Errors
/// The evaluation was made without that metric.
pub fn report(summary: &Summary, options: &VolumetryOptions) -> Result<VolumetryReport, VolumetryError> {
    let mut classes = Vec::new();
    for (number, (class, _)) in summary.mean.iter().enumerate() {
        let cases = measured(summary, number)?;
        classes.push(ClassReport::new(class.clone(), cases, options));
    }
    let names: Vec<&str> = classes
        .first()
        .map_or_else(Vec::new, |class| class.cases.iter().map(|case| case.case.as_str()).collect());
    let mut warnings = options.subjects.as_ref().map_or_else(Vec::new, |subjects| subjects.warnings(&names));
    if names.len() < 3 {
        warnings.push(format!("{} case(s): statistics of agreement need at least 3", names.len()));
    }
    let (margin, threshold, bootstrap) = (options.margin, options.threshold, options.bootstrap);
    Ok(VolumetryReport { classes, warnings, margin, threshold, bootstrap })
}

/// The volumes of class `number` in every case.
fn measured(summary: &Summary, number: usize) -> Result<Vec<Measured>, VolumetryError> {
    let case = |case: &crate::evaluate::CaseMetrics| {
        let name = Path::new(&case.prediction_file).file_name().unwrap_or_default().to_string_lossy();
        let name = case_name(&name).to_owned();
        let (class, metrics) = &case.metrics[number];
        let missing = || VolumetryError::NoVolumes { class: class.key(), case: name.clone() };
        let ml = |key| metrics.added.get(key).ok_or_else(missing);
        let (ml_ref, ml_pred) = (ml("ml_ref")?, ml("ml_pred")?);
        let added =
            metrics.added.entries().filter(|(key, _)| !["ml_ref", "ml_pred", "AVE", "RVE"].contains(key));
        let metrics = std::iter::once(("Dice", metrics.dice)).chain(added);
        let metrics = metrics.map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(Measured { case: name, ml_ref, ml_pred, metrics })
    };
    summary.metric_per_case.iter().map(case).collect()
}

impl ClassReport {
    fn new(class: LabelOrRegion, cases: Vec<Measured>, options: &VolumetryOptions) -> Self {
        let dice: Vec<f64> = cases
            .iter()
            .filter_map(|case| Some(case.metrics.first()?.1))
            .filter(|dice| !dice.is_nan())
            .collect();
        let people = options.subjects.as_ref().map(|subjects| People::new(&cases, subjects));
        let change = people
            .as_ref()
            .and_then(|people| Change::new(&people.visits(), options.threshold, &options.bootstrap));
        let groups = people.as_ref().map_or_else(Vec::new, |people| people.group_effects(&options.bootstrap));
        let agreement = Agreement::new(&cases, options.margin);
        let dice = mean(&dice);
        Self {
            verdict: verdict(dice, &agreement, change.as_ref(), &groups),
            agreement,
            change,
            groups,
            strata: strata(&cases, options.subjects.as_ref()),
            dice,
            class,
            cases,
        }
    }
}

/// The cases by subject.
struct People<'a> {
    subjects: &'a Subjects,
    all: Vec<Person<'a>>,
}

/// What a person contributes to the comparison of groups, if there is anything.
type OutcomeOf = Box<dyn Fn(&Person<'_>) -> Option<Outcome>>;

struct Person<'a> {
    name: &'a str,
    group: Option<&'a str>,
    /// Time point and case, in the order of time, one for each time point.
    cases: Vec<(Option<&'a str>, &'a Measured)>,
}

impl<'a> People<'a> {
    fn new(cases: &'a [Measured], subjects: &'a Subjects) -> Self {
        let mut all: Vec<Person<'a>> = Vec::new();
        for case in cases {
            let Some(row) = subjects.get(&case.case) else { continue };
            let time = row.time.as_deref();
            match all.iter_mut().find(|person| person.name == row.subject) {
                Some(person) => {
                    person.group = person.group.or(row.group.as_deref());
                    if person.cases.iter().all(|(known, _)| *known != time) {
                        person.cases.push((time, case));
                    }
                }
                None => all.push(Person {
                    name: &row.subject,
                    group: row.group.as_deref(),
                    cases: vec![(time, case)],
                }),
            }
        }
        let place =
            |time: Option<&str>| subjects.times().iter().position(|known| Some(known.as_str()) == time);
        all.iter_mut().for_each(|person| person.cases.sort_by_key(|(time, _)| place(*time)));
        Self { subjects, all }
    }

    /// First and last case of everybody who has several time points.
    fn visits(&self) -> Vec<Visit<'a>> {
        self.all.iter().filter_map(Person::visit).collect()
    }

    /// Every group against the first one: the volumes at each time, and the changes over time.
    fn group_effects(&self, bootstrap: &Bootstrap) -> Vec<GroupEffect> {
        let Some((first, others)) = self.subjects.groups().split_first() else { return Vec::new() };
        let mut outcomes: Vec<(String, Measure, OutcomeOf)> = Vec::new();
        if self.subjects.times().is_empty() {
            let volume = |person: &Person<'_>| person.volume(None);
            outcomes.push(("volume".to_owned(), Measure::Volume, Box::new(volume)));
        }
        for time in self.subjects.times() {
            let time_of = time.clone();
            let volume = move |person: &Person<'_>| person.volume(Some(&time_of));
            outcomes.push((format!("volume at {time}"), Measure::Volume, Box::new(volume)));
        }
        if let [from, .., to] = self.subjects.times() {
            outcomes.push((
                format!("change from {from} to {to}"),
                Measure::Change,
                Box::new(|person: &Person<'_>| person.change()),
            ));
        }
        let mut effects = Vec::new();
        for (name, measure, outcome) in &outcomes {
            for other in others {
                let of = |group: &str| -> Vec<Outcome> {
                    self.all.iter().filter(|person| person.group == Some(group)).filter_map(outcome).collect()
                };
                let groups = [first.clone(), other.clone()];
                let (a, b) = (of(first), of(other));
                effects.extend(GroupEffect::new(name.clone(), *measure, groups, [&a, &b], bootstrap));
            }
        }
        effects
    }
}

impl<'a> Person<'a> {
    fn visit(&self) -> Option<Visit<'a>> {
        match self.cases.as_slice() {
            [(_, first), .., (_, last)] => Some(Visit { first, last }),
            _ => None,
        }
    }

    fn volume(&self, time: Option<&str>) -> Option<Outcome> {
        let (_, case) = self.cases.iter().find(|(known, _)| *known == time)?;
        let error = case.relative_error().unwrap_or(f64::NAN);
        Some(Outcome { reference: case.ml_ref, prediction: case.ml_pred, error })
    }

    fn change(&self) -> Option<Outcome> {
        let Visit { first, last } = self.visit()?;
        let errors = last.relative_error().zip(first.relative_error());
        Some(Outcome {
            reference: last.ml_ref - first.ml_ref,
            prediction: last.ml_pred - first.ml_pred,
            error: errors.map_or(f64::NAN, |(last, first)| last - first),
        })
    }
}

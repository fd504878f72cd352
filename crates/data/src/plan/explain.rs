//! Why the plans are as they are: for each value of a plans file what it follows from and by which rule, and where it is
//! not what the planner makes.

use super::document;
use super::error::PlanError;
use super::planner::{DatasetFacts, Experiment, PlannerOptions, plan_experiment};
use super::plans_json::Plans;
use super::reasons::{Reason, Reasons};
use super::target_spacing::{transpose_orders, transposed};
use super::values::Document;
use nnunet_pyformats::json::{Json, KeyOrder};

/// One value of the plans.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Where the value stands in the file, e.g. `configurations.3d_fullres.batch_size`.
    pub key: String,
    /// The value in the file.
    pub value: Json,
    /// What it follows from: values of the fingerprint or of dataset.json, options, values planned before.
    pub source: String,
    /// How it follows.
    pub rule: String,
    /// What the planner makes, if the file has something else.
    pub planned: Option<Json>,
}

impl Explanation {
    /// The explanation as an object: `key`, `value`, `source`, `rule` and, if the file has something else, `planned`.
    pub fn to_json(&self) -> Json {
        let entries = [
            ("key", self.key.as_str().into()),
            ("value", self.value.clone()),
            ("source", self.source.as_str().into()),
            ("rule", self.rule.as_str().into()),
        ];
        Json::object(entries.into_iter().chain(self.planned.clone().map(|planned| ("planned", planned))))
    }
}

/// Explains every value of `plans`, in the order of the file. `facts` and `options` are those the plans were made with. If
/// the plans name another planner than `options` do, its rules are not known and only the rest is explained.
///
/// # Errors
/// The dataset cannot be planned.
pub fn explain(
    plans: &Plans,
    facts: &DatasetFacts,
    options: &PlannerOptions,
) -> Result<Vec<Explanation>, PlanError> {
    let experiment = plan_experiment(facts, options)?;
    let planned = document::plans(facts, options, &experiment);
    let unknown_planner = plans.experiment_planner_used().filter(|name| *name != options.preset.name);
    let planned = if unknown_planner.is_some() { Json::Object(Document::new()) } else { planned };
    let reasons = Reasons { facts, options, experiment: &experiment, unknown_planner };
    let mut all = Vec::new();
    for (key, value) in plans.document() {
        match (key.as_str(), value) {
            ("configurations", Json::Object(configurations)) => {
                all.push(presence(plans, &planned, &reasons));
                for (name, configuration) in configurations {
                    let planned = planned.get(key).and_then(|all| all.get(name));
                    let place = format!("{key}.{name}");
                    explain_object(&mut all, &place, configuration, planned, &|key| {
                        reasons.configuration(name, key, planned.is_some())
                    });
                }
            }
            _ => all.push(explanation(key.clone(), value, planned.get(key), reasons.plans(key))),
        }
    }
    Ok(all)
}

/// Options that `plans` show: planner, name, preprocessor, suppressed transposition, and a target spacing of 3d_fullres
/// that the planner would not choose. What the plans do not show (the memory) is taken from `options`.
///
/// # Errors
/// A planner that is not known; a dataset that cannot be planned.
pub(super) fn options_shown_by(
    plans: &Plans,
    facts: &DatasetFacts,
    mut options: PlannerOptions,
) -> Result<PlannerOptions, PlanError> {
    options.overwrite_plans_name = Some(plans.plans_name().to_owned());
    let configurations = || plans.document().get("configurations").and_then(Json::as_object);
    let entry = |configuration: &str, key: &str| configurations()?.get(configuration)?.get(key);
    if let Some(preprocessor) = entry("2d", "preprocessor_name").and_then(Json::as_str) {
        options.preprocessor_name = preprocessor.to_owned();
    }
    let Experiment { target_spacing, .. } = plan_experiment(facts, &options)?;
    if options.overwrite_target_spacing.is_none()
        && let Some(spacing) = entry("3d_fullres", "spacing").and_then(numbers)
    {
        let spacing = transposed(spacing, plans.transpose_backward());
        let given = (0..3).any(|axis| !close(spacing[axis], target_spacing.spacing[axis]));
        options.overwrite_target_spacing = given.then_some(spacing);
    }
    let spacing = options.overwrite_target_spacing.unwrap_or(target_spacing.spacing);
    let natural = transpose_orders(spacing).0;
    options.suppress_transpose = plans.transpose_forward() == [0, 1, 2] && natural != [0, 1, 2];
    Ok(options)
}

fn numbers(value: &Json) -> Option<[f64; 3]> {
    let list: Option<Vec<f64>> = value.as_array()?.iter().map(Json::as_f64).collect();
    list?.try_into().ok()
}

/// Which configurations there are.
fn presence(plans: &Plans, planned: &Json, reasons: &Reasons<'_>) -> Explanation {
    let names = |names: Vec<&str>| Json::from(names);
    let there = plans.configuration_names();
    let planned: Vec<&str> = planned
        .get("configurations")
        .and_then(Json::as_object)
        .map_or_else(Vec::new, |map| map.keys().map(String::as_str).collect());
    let missing = planned.iter().any(|name| !there.contains(name));
    let Reason { source, rule } = reasons.configurations();
    let planned = missing.then(|| names(planned));
    Explanation { key: "configurations".to_owned(), value: names(there), source, rule, planned }
}

/// Every entry of an object; those of the architecture each on their own.
fn explain_object(
    all: &mut Vec<Explanation>,
    place: &str,
    object: &Json,
    planned: Option<&Json>,
    reason: &dyn Fn(&str) -> Reason,
) {
    for (key, value) in object.as_object().into_iter().flatten() {
        let planned_value = planned.and_then(|planned| planned.get(key));
        let here = format!("{place}.{key}");
        match key.as_str() {
            "architecture" | "arch_kwargs" => explain_object(all, &here, value, planned_value, reason),
            _ => {
                all.push(explanation(here, value, planned_value, reason(key)));
            }
        }
    }
}

fn explanation(key: String, value: &Json, planned: Option<&Json>, reason: Reason) -> Explanation {
    let Reason { source, rule } = reason;
    let planned = planned.filter(|planned| !same(planned, value)).cloned();
    Explanation { key, value: value.clone(), source, rule, planned }
}

/// Whether two values are the same to the rounding of their last digits.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => close(a, b),
            _ => a == b,
        },
    }
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs()
}

/// The explanations as a text of one paragraph each, under headings of the file's parts.
pub fn explanations_as_text(explanations: &[Explanation]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for explanation in explanations {
        let (place, key) = explanation.key.rsplit_once('.').unwrap_or(("", &explanation.key));
        if place != heading {
            heading = place;
            text.push_str(&format!("\n{heading}\n"));
        }
        let one_line = |value: &Json| super::values::shown(value);
        text.push_str(&format!("  {key}: {}\n", one_line(&explanation.value)));
        if let Some(planned) = &explanation.planned {
            text.push_str(&format!("      the planner makes {}\n", one_line(planned)));
        }
        text.push_str(&format!("      from {}\n      {}\n", explanation.source, explanation.rule));
    }
    text
}

/// The explanations as a JSON list of objects.
pub fn explanations_as_json(explanations: &[Explanation]) -> String {
    Json::Array(explanations.iter().map(Explanation::to_json).collect()).to_python(KeyOrder::Kept)
}

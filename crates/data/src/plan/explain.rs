//! Why the plans are as they are: for each value of a plans file what it follows from and by which rule, and where it is
//! not what the planner makes.

use super::plans_json::Plans;
use super::values::Document;
use crate::parts::Parts;
use crate::planner::{
    DatasetFacts, Decision, Decisions, PlanError, PlannerOptions, decided_inverse, decided_planner,
    transposed,
};
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

/// Objects of a configuration whose entries are explained one by one.
const OPENED: [&str; 2] = ["architecture", "arch_kwargs"];

/// Explains every value of `plans`, in the order of the file. `facts` and `options` are those the plans were made with. If
/// the plans name a planner that is not registered, its rules are not known and only the rest is explained.
///
/// # Errors
/// The dataset cannot be planned.
pub fn explain(
    plans: &Plans,
    facts: &DatasetFacts,
    options: &PlannerOptions,
    parts: &Parts,
) -> Result<Vec<Explanation>, PlanError> {
    let named = plans.experiment_planner_used().unwrap_or(&options.planner);
    let (decisions, unknown_planner) = match parts.planners.get(named) {
        Ok(planner) => (planner.decide(facts, options, parts)?, None),
        Err(_) => (facts_alone(plans, facts, named), Some(named)),
    };
    let mut explainer = Explainer { unknown_planner, all: Vec::new() };
    for (key, value) in plans.document() {
        match (key.as_str(), value) {
            ("configurations", Json::Object(configurations)) => {
                explainer.configurations(configurations, decisions.get(key));
            }
            _ => explainer.entry(key.clone(), key, value, decisions.get(key), OBJECT_OF_PLANNER),
        }
    }
    Ok(explainer.all)
}

/// The decisions that every planner makes alike.
fn facts_alone(plans: &Plans, facts: &DatasetFacts, planner: &str) -> Decisions {
    let forward = plans.transpose_forward();
    Decisions::new()
        .value("dataset_name", facts.decided_name())
        .value("original_median_spacing_after_transp", facts.decided_median_spacing(forward))
        .value("original_median_shape_after_transp", facts.decided_median_shape(forward))
        .value("image_reader_writer", facts.decided_reader())
        .value("transpose_backward", decided_inverse(plans.transpose_backward()))
        .value("experiment_planner_used", decided_planner(planner))
        .value("foreground_intensity_properties_per_channel", facts.decided_intensities())
}

/// Options that `plans` show: planner, name, preprocessor, suppressed transposition, and a target spacing of 3d_fullres
/// that the planner would not choose. What the plans do not show (the memory) is taken from `options`. Of a planner that
/// is not registered only the name can be seen.
///
/// # Errors
/// A dataset that cannot be planned.
pub(super) fn options_shown_by(
    plans: &Plans,
    facts: &DatasetFacts,
    mut options: PlannerOptions,
    parts: &Parts,
) -> Result<PlannerOptions, PlanError> {
    if let Some(planner) = plans.experiment_planner_used() {
        options.planner = planner.to_owned();
    }
    options.overwrite_plans_name = Some(plans.plans_name().to_owned());
    let written = plans.to_json();
    if let Some(preprocessor) = entry(&written, &["configurations", "2d", "preprocessor_name"]) {
        options.preprocessor_name = preprocessor.as_str().unwrap_or_default().to_owned();
    }
    let Ok(planner) = parts.planners.get(&options.planner) else { return Ok(options) };
    // In the axis order of the images.
    let spacing = |plans: &Json, backward| {
        let spacing = entry(plans, &["configurations", "3d_fullres", "spacing"]).and_then(numbers)?;
        Some(transposed(spacing, backward))
    };
    let planned = planner.decide(facts, &options, parts)?.to_json();
    let natural = entry(&planned, &["transpose_backward"]).and_then(axes).unwrap_or([0, 1, 2]);
    if options.overwrite_target_spacing.is_none()
        && let Some(shown) = spacing(&written, plans.transpose_backward())
    {
        let expected = spacing(&planned, natural);
        let same = expected.is_some_and(|expected| (0..3).all(|axis| close(shown[axis], expected[axis])));
        options.overwrite_target_spacing = (!same).then_some(shown);
    }
    if plans.transpose_forward() == [0, 1, 2] {
        let planned = planner.decide(facts, &options, parts)?.to_json();
        let natural = entry(&planned, &["transpose_forward"]).and_then(axes);
        options.suppress_transpose = natural.is_some_and(|natural| natural != [0, 1, 2]);
    }
    Ok(options)
}

fn entry<'a>(document: &'a Json, path: &[&str]) -> Option<&'a Json> {
    path.iter().try_fold(document, |value, key| value.get(key))
}

fn axes(value: &Json) -> Option<[usize; 3]> {
    numbers(value).map(|numbers| numbers.map(|number| number as usize))
}

fn numbers(value: &Json) -> Option<[f64; 3]> {
    let list: Option<Vec<f64>> = value.as_array()?.iter().map(Json::as_f64).collect();
    list?.try_into().ok()
}

/// What becomes of an entry that no planner made when the dataset is planned again.
const OBJECT_OF_PLANNER: &str = "added to the file; planning again drops it";
const OBJECT_OF_USER: &str = "added to the file; planning again keeps it";

/// Collects explanations.
struct Explainer<'a> {
    /// The planner of the plans, if it is not registered.
    unknown_planner: Option<&'a str>,
    all: Vec<Explanation>,
}

impl Explainer<'_> {
    /// Which configurations there are, and the values of each.
    fn configurations(&mut self, configurations: &Document, decision: Option<&Decision>) {
        let planned = decision.and_then(Decision::entries);
        let names = || configurations.keys().map(String::as_str).collect::<Vec<_>>();
        let missing =
            planned.is_some_and(|planned| planned.keys().any(|name| !configurations.contains_key(name)));
        let planned_names =
            planned.filter(|_| missing).map(|planned| planned.keys().collect::<Vec<_>>().into());
        let (source, rule) = match decision {
            Some(Decision::Choice(decided)) => (decided.source.clone(), decided.rule.clone()),
            _ => self.without_decision(OBJECT_OF_PLANNER),
        };
        let key = "configurations".to_owned();
        self.all.push(Explanation { key, value: names().into(), source, rule, planned: planned_names });
        for (name, configuration) in configurations {
            let decision = planned.and_then(|planned| planned.get(name));
            let undecided = if decision.is_some() { OBJECT_OF_PLANNER } else { OBJECT_OF_USER };
            self.object(&format!("configurations.{name}"), configuration, decision, undecided);
        }
    }

    /// Every entry of an object. `undecided` is the rule for entries without a decision.
    fn object(&mut self, place: &str, object: &Json, decision: Option<&Decision>, undecided: &str) {
        let entries = decision.and_then(Decision::entries);
        for (key, value) in object.as_object().into_iter().flatten() {
            let decision = entries.and_then(|entries| entries.get(key));
            self.entry(format!("{place}.{key}"), key, value, decision, undecided);
        }
    }

    fn entry(
        &mut self,
        place: String,
        key: &str,
        value: &Json,
        decision: Option<&Decision>,
        undecided: &str,
    ) {
        let decided_one_by_one = decision.is_some_and(|decision| decision.entries().is_some());
        let opened = decided_one_by_one || (decision.is_none() && OPENED.contains(&key));
        if opened && value.as_object().is_some() {
            return self.object(&place, value, decision, undecided);
        }
        let (source, rule) = match decision {
            Some(Decision::Value(decided)) => (decided.source.clone(), decided.rule.clone()),
            _ => self.without_decision(undecided),
        };
        let planned = decision.map(Decision::to_json).filter(|planned| !same(planned, value));
        self.all.push(Explanation { key: place, value: value.clone(), source, rule, planned });
    }

    /// Source and rule of a value that the planner did not decide, or that a planner decided of which nothing is known.
    fn without_decision(&self, undecided: &str) -> (String, String) {
        match self.unknown_planner {
            Some(planner) => (
                format!("planner {planner}"),
                "not known: this planner is not registered, so its rules cannot be named".to_owned(),
            ),
            None => ("not from the planner".to_owned(), undecided.to_owned()),
        }
    }
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

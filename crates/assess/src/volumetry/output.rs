//! The comparison of volumes as JSON, as a table and as text.

use nnunet_pyformats::json::Json;

use super::change::Change;
use super::group::GroupEffect;
use super::report::{ClassReport, Measured, VolumetryReport};
use crate::statistics::Line;

pub(super) fn interval([low, high]: [f64; 2]) -> Json {
    Json::Array(vec![Json::Float(low), Json::Float(high)])
}

pub(super) fn numbers<const N: usize>(
    entries: [(&'static str, f64); N],
) -> impl Iterator<Item = (&'static str, Json)> {
    entries.into_iter().map(|(key, value)| (key, Json::Float(value)))
}

/// A number of subjects; null where none are enough.
pub(super) fn count(subjects: Option<u64>) -> Json {
    subjects.map_or(Json::Null, |n| Json::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

pub(super) fn line(line: &Line) -> Json {
    Json::object([
        ("slope", Json::Float(line.slope)),
        ("slope_interval", interval(line.slope_interval)),
        ("slope_p", Json::Float(line.slope_p)),
        ("intercept", Json::Float(line.intercept)),
        ("correlation", Json::Float(line.correlation)),
    ])
}

impl VolumetryReport {
    /// The section `volumetry` of summary.json.
    pub fn to_json(&self) -> Json {
        let classes = self.classes.iter().map(|class| (class.class.key(), class.to_json()));
        Json::object([
            ("margin", Json::Float(self.margin)),
            ("threshold", Json::Float(self.threshold)),
            ("resamples", Json::Int(self.bootstrap.resamples as i64)),
            ("seed", Json::Int(i64::from(self.bootstrap.seed))),
            ("classes", Json::object(classes)),
        ])
    }

    /// All numbers as a table: class, quantity, value; lines end in `\n`.
    pub fn to_tsv(&self) -> String {
        let mut table = "class\tquantity\tvalue\n".to_owned();
        for class in &self.classes {
            let mut rows = Vec::new();
            flatten("", &class.to_json(), &mut rows);
            for (quantity, value) in rows {
                table.push_str(&format!("{}\t{quantity}\t{value}\n", class.class.key()));
            }
        }
        table
    }

    /// What a reader wants to know first, line by line.
    pub fn text(&self) -> Vec<String> {
        self.classes.iter().flat_map(ClassReport::text).collect()
    }
}

/// The values of a document with the way to each; what is told apart by its content is named after that.
fn flatten(path: &str, json: &Json, rows: &mut Vec<(String, String)>) {
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match json {
        Json::Object(entries) => entries.iter().for_each(|(key, value)| flatten(&at(key), value, rows)),
        Json::Array(items) => match items.as_slice() {
            [low @ (Json::Float(_) | Json::Int(_)), high] => {
                flatten(&at("low"), low, rows);
                flatten(&at("high"), high, rows);
            }
            items => {
                for (i, item) in items.iter().enumerate() {
                    let name = |key| item.get(key).and_then(Json::as_str);
                    let parts = ["case", "outcome", "compared", "by", "value"].into_iter().filter_map(name);
                    let name = parts.collect::<Vec<_>>().join(" ");
                    flatten(&at(if name.is_empty() { i.to_string() } else { name }.as_str()), item, rows);
                }
            }
        },
        Json::Float(value) => rows.push((path.to_owned(), value.to_string())),
        Json::Int(value) => rows.push((path.to_owned(), value.to_string())),
        Json::String(text) => rows.push((path.to_owned(), text.replace(['\t', '\n'], " "))),
        Json::Bool(value) => rows.push((path.to_owned(), value.to_string())),
        _ => rows.push((path.to_owned(), String::new())),
    }
}

impl ClassReport {
    fn to_json(&self) -> Json {
        let list = |items: Vec<Json>| Json::Array(items);
        let mut entries = vec![
            ("dice", Json::Float(self.dice)),
            ("verdict", list(self.verdict.iter().map(|text| Json::from(text.as_str())).collect())),
            ("agreement", self.agreement.to_json()),
        ];
        if let Some(change) = &self.change {
            entries.push(("change", change.to_json()));
        }
        if !self.groups.is_empty() {
            entries.push(("groups", list(self.groups.iter().map(GroupEffect::to_json).collect())));
        }
        entries.push(("strata", list(self.strata.iter().map(|stratum| stratum.to_json()).collect())));
        entries.push(("cases", list(self.cases.iter().map(Measured::to_json).collect())));
        Json::object(entries)
    }

    fn text(&self) -> Vec<String> {
        if self.cases.iter().all(|case| case.ml_ref == 0.0 && case.ml_pred == 0.0) {
            return vec![format!("volumes of class {}: it is in no case", self.class.key())];
        }
        let agreement = &self.agreement;
        let (found, slope) = (&agreement.bland_altman, &agreement.calibration);
        let mut lines = vec![
            format!("volumes of class {} in {} cases, mean Dice {:.3}", self.class.key(), found.n, self.dice),
            format!(
                "  error (pred - ref)   {} ml, limits of agreement {} to {} ml; {} of the volume",
                within(found.bias, found.bias_interval),
                short(found.limits[0]),
                short(found.limits[1]),
                percent(agreement.relative.difference)
            ),
            format!(
                "  agreement            CCC {:.3}, ICC(2,1) {:.3}, calibration slope {}",
                agreement.ccc,
                agreement.icc,
                within(slope.slope, slope.slope_interval)
            ),
        ];
        lines.extend(self.change.iter().map(Change::text));
        lines.extend(self.groups.iter().flat_map(GroupEffect::text));
        match self.verdict.as_slice() {
            [] => lines.push("  verdict              no fault found in the volumes".to_owned()),
            found => lines.extend(found.iter().map(|text| format!("  verdict              {text}"))),
        }
        lines
    }
}

impl Measured {
    fn to_json(&self) -> Json {
        let mut entries = vec![("case", Json::from(self.case.as_str()))];
        entries.extend(numbers([
            ("ml_ref", self.ml_ref),
            ("ml_pred", self.ml_pred),
            ("error_ml", self.ml_pred - self.ml_ref),
            ("relative_error", self.relative_error().unwrap_or(f64::NAN)),
            ("log_ratio", (self.ml_pred / self.ml_ref).ln()),
        ]));
        Json::object(entries)
    }
}

impl Change {
    fn text(&self) -> String {
        let unit = if self.logarithms { "log ratio" } else { "ml" };
        format!(
            "  change over time     {} by the reference, {} by the prediction ({unit}); same sign in {:.0} %; subjects for \
             80 % power: {} and {}",
            short(self.reference.difference),
            short(self.prediction.difference),
            100.0 * self.same_sign,
            subjects(self.subjects_reference),
            subjects(self.subjects_prediction)
        )
    }
}

impl GroupEffect {
    fn text(&self) -> Vec<String> {
        let side = |name: &str, effect: &super::group::Effect| {
            format!(
                "    by the {name:<11} {} ml{}, p {:.3}, g {:.2}, subjects per group for 80 % power: {}",
                within(effect.test.difference, effect.test.interval),
                relative(effect.relative),
                effect.test.p,
                effect.g,
                subjects(effect.subjects)
            )
        };
        vec![
            format!(
                "  {}: {} ({}) against {} ({})",
                self.outcome, self.groups[1], self.sizes[1], self.groups[0], self.sizes[0]
            ),
            side("reference", &self.reference),
            side("prediction", &self.prediction),
        ]
    }
}

fn subjects(subjects: Option<u64>) -> String {
    subjects.map_or_else(|| "no number is enough".to_owned(), |n| n.to_string())
}

fn within(value: f64, [low, high]: [f64; 2]) -> String {
    format!("{} ({} to {})", short(value), short(low), short(high))
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = if value == 0.0 || !value.is_finite() {
        2
    } else {
        (2 - value.abs().log10().floor() as i32).clamp(0, 6)
    };
    format!("{value:.*}", digits as usize)
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

/// A share in brackets, if there is one.
fn relative(share: f64) -> String {
    if share.is_finite() { format!(" ({})", percent(share)) } else { String::new() }
}

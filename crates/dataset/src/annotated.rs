//! Which labels or regions were annotated in which case: `annotated_labels` of dataset.json.
//!
//! ```json
//! "annotated_labels": {"default": ["Anterior"], "cases": {"hippocampus_001": ["Anterior", "Posterior"]}}
//! ```
//! Cases that are not named have what `default` says; without it everything. An annotated label that a case does not show
//! is known not to be there; of one that was not annotated nothing is known.

use indexmap::IndexMap;
use nnunet_pyformats::json::Json;

use super::json::{DatasetJson, LabelValue};
use super::labels::LabelManager;

/// Key in dataset.json.
pub(super) const KEY: &str = "annotated_labels";

/// Which labels or regions were annotated in which case, by their names in dataset.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotatedLabels {
    /// What was annotated in cases that are not named; `None` for everything.
    pub default: Option<Vec<String>>,
    /// What was annotated in single cases.
    pub cases: IndexMap<String, Vec<String>>,
}

impl AnnotatedLabels {
    /// What was annotated in `case`; `None` for everything.
    pub fn of(&self, case: &str) -> Option<&[String]> {
        self.cases.get(case).or(self.default.as_ref()).map(Vec::as_slice)
    }

    /// The entry of dataset.json.
    pub fn to_json(&self) -> Json {
        let cases = self.cases.iter().map(|(case, names)| (case.clone(), names.clone().into()));
        let default = self.default.iter().map(|names| ("default".to_owned(), Json::from(names.clone())));
        Json::object(default.chain([("cases".to_owned(), Json::object(cases))]))
    }

    /// Reads the entry; `Err` is the key within it, what was found there, and what belongs there.
    pub(super) fn from_json<'a>(
        entry: &'a Json,
        labels: &IndexMap<String, LabelValue>,
    ) -> Result<Self, (String, &'a Json, String)> {
        let known: Vec<&str> = labels
            .keys()
            .map(String::as_str)
            .filter(|name| !["background", "ignore"].contains(name))
            .collect();
        let names = |key: &str, value: &'a Json| {
            let expected = || format!("a list of names from labels: {}", known.join(", "));
            let items = value.as_array().ok_or_else(|| (key.to_owned(), value, expected()))?;
            let name = |item: &'a Json| match item.as_str().filter(|name| known.contains(name)) {
                Some(name) => Ok(name.to_owned()),
                None => Err((key.to_owned(), item, expected())),
            };
            items.iter().map(name).collect::<Result<Vec<_>, _>>()
        };
        let shape = "an object with \"default\" (a list of labels) and \"cases\" (such a list for each case)";
        let entries = entry.as_object().ok_or_else(|| (KEY.to_owned(), entry, shape.to_owned()))?;
        if let Some((key, value)) =
            entries.iter().find(|(key, _)| !["default", "cases"].contains(&key.as_str()))
        {
            return Err((format!("{KEY}.{key}"), value, shape.to_owned()));
        }
        let default = match entries.get("default") {
            None | Some(Json::Null) => None,
            Some(value) => Some(names(&format!("{KEY}.default"), value)?),
        };
        let mut cases = IndexMap::new();
        if let Some(value) = entries.get("cases") {
            let listed =
                value.as_object().ok_or_else(|| (format!("{KEY}.cases"), value, shape.to_owned()))?;
            for (case, value) in listed {
                cases.insert(case.clone(), names(&format!("{KEY}.cases.{case}"), value)?);
            }
        }
        Ok(Self { default, cases })
    }
}

impl DatasetJson {
    /// The names of the labels or regions that were annotated in `case`; `None` for all.
    pub fn annotated_in(&self, case: &str) -> Option<&[String]> {
        self.annotated_labels.as_ref()?.of(case)
    }
}

impl LabelManager {
    /// For each of [`LabelManager::foreground`], whether it is among the `names` of `json`.
    pub fn annotated_foreground(&self, names: &[String], json: &DatasetJson) -> Vec<bool> {
        let values: Vec<&[i32]> =
            names.iter().filter_map(|name| json.labels.get(name)).map(LabelValue::values).collect();
        let is_annotated = |class: &[i32]| match self.has_regions() {
            true => values.contains(&class),
            false => values.iter().any(|value| class.iter().all(|label| value.contains(label))),
        };
        self.foreground().iter().map(|class| is_annotated(class.values())).collect()
    }

    /// For each output of the network, whether it was annotated where `names` were: the background of labels always is, with
    /// all that was not annotated in it.
    pub fn annotated_outputs(&self, names: &[String], json: &DatasetJson) -> Vec<bool> {
        let background = (!self.has_regions()).then_some(true);
        background.into_iter().chain(self.annotated_foreground(names, json)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn json(labels: &str, rest: &str) -> Result<DatasetJson, String> {
        let text = format!(
            r#"{{"channel_names": {{"0": "CT"}}, "labels": {labels}, "regions_class_order": [1, 2],
                "file_ending": ".nii", {rest}}}"#
        );
        DatasetJson::from_json(Json::parse(&text).unwrap(), Path::new("dataset.json"))
            .map_err(|e| e.to_string())
    }

    const LABELS: &str = r#"{"background": 0, "a": 1, "b": 2}"#;

    #[test]
    fn cases_have_their_own_labels_the_default_or_all() {
        let entry = r#""annotated_labels": {"default": ["b"], "cases": {"x": ["a", "b"], "y": []}}"#;
        let json = json(LABELS, entry).unwrap();
        let labels = LabelManager::new(&json).unwrap();
        let outputs = |case| labels.annotated_outputs(json.annotated_in(case).unwrap(), &json);
        assert_eq!(outputs("x"), [true, true, true]);
        assert_eq!(outputs("y"), [true, false, false]);
        assert_eq!(outputs("z"), [true, false, true]);
        let again = json.annotated_labels.as_ref().unwrap().to_json();
        assert_eq!(Some(&again), json.document().get("annotated_labels"));
        let open = self::json(LABELS, r#""annotated_labels": {"cases": {"x": ["a"]}}"#).unwrap();
        assert_eq!((open.annotated_in("x").map(<[String]>::len), open.annotated_in("z")), (Some(1), None));
    }

    #[test]
    fn regions_are_annotated_by_their_names() {
        let json = json(
            r#"{"background": 0, "whole": [1, 2], "core": 2}"#,
            r#""annotated_labels": {"default": ["core"]}"#,
        )
        .unwrap();
        let labels = LabelManager::new(&json).unwrap();
        assert_eq!(labels.annotated_outputs(json.annotated_in("x").unwrap(), &json), [false, true]);
    }

    #[test]
    fn unknown_labels_and_keys_are_named() {
        for (entry, words) in [
            (
                r#"{"default": ["c"]}"#,
                "annotated_labels.default: found \"c\", expected a list of names from labels: a, b",
            ),
            (r#"{"default": ["background"]}"#, "from labels: a, b"),
            (r#"{"cases": {"x": "a"}}"#, "annotated_labels.cases.x: found \"a\""),
            (r#"{"case": {"x": ["a"]}}"#, "annotated_labels.case: found"),
            (r#"["a"]"#, "annotated_labels: found"),
        ] {
            let error = json(LABELS, &format!(r#""annotated_labels": {entry}"#)).unwrap_err();
            assert!(error.contains(words), "{words:?} in {error}");
        }
        let error = json(LABELS, r#""annotated": {"default": ["a"]}"#).unwrap_err();
        assert!(error.contains("expected the key annotated_labels"), "{error}");
    }
}

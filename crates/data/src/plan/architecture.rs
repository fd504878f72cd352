//! The `architecture` of a configuration: class name and keyword arguments of the network.
//!
//! The keyword arguments are kept as they are in the file: the registry of architectures reads and
//! checks them (a network registered by somebody else may have its own).

use super::values::{Document, shown, whole};
use crate::planner::PlanError;
use nnunet_pyformats::json::Json;

/// Network class and its arguments, as in a plans file.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Full Python name of the class, e.g. `dynamic_network_architectures.architectures.unet.PlainConvUNet`.
    pub network_class_name: String,
    /// Keyword arguments of the class, as in the file.
    pub arch_kwargs: Document,
    /// Arguments that are Python names to be imported.
    pub requires_import: Vec<String>,
    place: String,
}

impl Architecture {
    /// Reads the `architecture` entry of a configuration; `place` names it in errors.
    pub(super) fn from_json(value: &Json, place: &str) -> Result<Self, PlanError> {
        let problem = |key: &str, expected: &str| {
            PlanError::value(place, format!("architecture.{key}"), format!("is missing or not {expected}"))
        };
        let network_class_name = value.get("network_class_name").and_then(Json::as_str);
        let arch_kwargs = value.get("arch_kwargs").and_then(Json::as_object);
        let requires_import = value.get("_kw_requires_import").and_then(Json::as_array);
        Ok(Self {
            network_class_name: network_class_name
                .ok_or_else(|| problem("network_class_name", "a text"))?
                .to_owned(),
            arch_kwargs: arch_kwargs.ok_or_else(|| problem("arch_kwargs", "an object"))?.clone(),
            requires_import: requires_import
                .and_then(|list| list.iter().map(|v| v.as_str().map(str::to_owned)).collect())
                .ok_or_else(|| problem("_kw_requires_import", "a list of texts"))?,
            place: place.to_owned(),
        })
    }

    /// The class without its module, e.g. `PlainConvUNet`.
    pub fn class_name(&self) -> &str {
        self.network_class_name.rsplit('.').next().unwrap_or_default()
    }

    /// The keyword arguments as the registry of architectures takes them.
    pub fn kwargs_value(&self) -> serde_json::Value {
        Json::Object(self.arch_kwargs.clone()).into()
    }

    /// Strides of each stage, one value for each of `axes` axes: the scales of deep supervision.
    pub fn strides(&self, axes: usize) -> Result<Vec<Vec<usize>>, PlanError> {
        let value = self.arch_kwargs.get("strides").unwrap_or(&Json::Null);
        let stride = |value: &Json| match value.as_array() {
            Some(list) if list.len() == axes => list.iter().map(positive).collect(),
            Some(_) => None,
            None => positive(value).map(|stride| vec![stride; axes]),
        };
        value
            .as_array()
            .filter(|stages| (1..=64).contains(&stages.len()))
            .and_then(|stages| stages.iter().map(stride).collect())
            .ok_or_else(|| {
                let problem = format!("is {}; expected {axes} positive numbers per stage", shown(value));
                PlanError::value(&self.place, "architecture.arch_kwargs.strides", problem)
            })
    }
}

fn positive(value: &Json) -> Option<usize> {
    whole(value, 1 << 20).filter(|&v| v > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(strides: serde_json::Value) -> Architecture {
        let value = serde_json::json!({
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {"n_stages": 2, "strides": strides},
            "_kw_requires_import": ["conv_op"]
        });
        Architecture::from_json(&value.into(), "plans.json, configuration 2d").unwrap()
    }

    #[test]
    fn strides_are_lists_or_numbers() {
        let architecture = architecture(serde_json::json!([1, [1, 2, 2]]));
        assert_eq!(architecture.strides(3).unwrap(), [[1, 1, 1], [1, 2, 2]]);
        assert_eq!(architecture.class_name(), "PlainConvUNet");
        assert_eq!(architecture.kwargs_value()["n_stages"], 2);
    }

    #[test]
    fn wrong_entries_are_named() {
        let text =
            architecture(serde_json::json!([[1, 1, 1], [0, 2, 2]])).strides(3).unwrap_err().to_string();
        assert!(
            text.contains("configuration 2d") && text.contains("strides") && text.contains("0, 2, 2"),
            "{text}"
        );
        assert!(architecture(serde_json::json!([[1, 1]])).strides(3).is_err());
        let text = Architecture::from_json(&Json::object([("arch_kwargs", Json::Null)]), "p").unwrap_err();
        assert!(text.to_string().contains("network_class_name"), "{text}");
    }
}

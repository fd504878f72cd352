//! What classes are called.

use nnunet_dataset::json::LabelValue;
use nnunet_dataset::{DatasetJson, LabelOrRegion};

/// The name that a dataset.json gives to a class; its values where there is none.
pub(crate) fn class_name(class: &LabelOrRegion, json: Option<&DatasetJson>) -> String {
    let named = json.into_iter().flat_map(|json| &json.labels).find(|(_, value)| match value {
        LabelValue::Label(label) => class.values() == [*label],
        LabelValue::Region(labels) => class.values() == labels.as_slice(),
    });
    match named {
        Some((name, _)) => name.clone(),
        None => format!("class {}", class.key()),
    }
}

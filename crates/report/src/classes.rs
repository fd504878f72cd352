//! What classes are called.

use nnunet_dataset::{DatasetJson, LabelOrRegion};

/// The name that a dataset.json gives to a class; its values where there is none.
pub(crate) fn class_name(class: &LabelOrRegion, json: Option<&DatasetJson>) -> String {
    match json.and_then(|json| class.name_in(json)) {
        Some(name) => name.to_owned(),
        None => format!("class {}", class.key()),
    }
}

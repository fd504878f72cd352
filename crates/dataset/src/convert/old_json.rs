//! dataset.json of the Medical Segmentation Decathlon and of nnU-Net v1, which took it over.

use std::path::Path;

use indexmap::IndexMap;

use super::error::ConvertError;
use crate::{DatasetError, DatasetJson};
use nnunet_pyformats::json::{Json, KeyOrder};

/// Turns the dataset.json at `path` into one of version 2: `modality` is renamed, labels go from name to number, the
/// keys `dropped` are gone, and `added` (with `channel_names` for the modalities) come last in their order.
pub(super) fn converted(path: &Path, dropped: &[&str], added: [&str; 2]) -> Result<Json, ConvertError> {
    let mut document = Json::load(path)?;
    let found = document.kind();
    let Json::Object(entries) = &mut document else {
        return Err(bad(path, "the document", found.to_owned(), "an object").into());
    };
    let present = entries.keys().cloned().collect::<Vec<_>>().join(", ");
    let Some(modality) = entries.shift_remove("modality") else {
        let expected = "the names of the channels, as in {\"0\": \"CT\"}; is it converted already?";
        return Err(
            DatasetError::MissingKey { path: path.to_owned(), key: "modality", expected, present }.into()
        );
    };
    let Some(labels) = entries.get_mut("labels") else {
        let expected = "labels, as in {\"0\": \"background\", \"1\": \"tumour\"}";
        return Err(
            DatasetError::MissingKey { path: path.to_owned(), key: "labels", expected, present }.into()
        );
    };
    *labels = Json::Object(turned_around(labels, path)?);
    for key in dropped {
        entries.shift_remove(*key);
    }
    for key in added {
        let value = if key == "channel_names" { modality.clone() } else { ".nii.gz".into() };
        entries.insert(key.to_owned(), value);
    }
    // What comes out has to be one that the other stages take.
    DatasetJson::from_json(document.clone(), path)?;
    Ok(document)
}

/// Writes a dataset.json as the reference does.
pub(super) fn save(json: &Json, folder: &Path) -> Result<(), ConvertError> {
    Ok(json.save(&folder.join("dataset.json"), KeyOrder::Kept)?)
}

/// Labels from name to number, made of those from number to name.
fn turned_around(labels: &Json, path: &Path) -> Result<IndexMap<String, Json>, DatasetError> {
    let expected = "labels from number to name, as in {\"0\": \"background\", \"1\": \"tumour\"}";
    let Json::Object(labels) = labels else {
        return Err(bad(path, "labels", labels.kind().to_owned(), expected));
    };
    let mut turned = IndexMap::new();
    for (value, name) in labels {
        let (Ok(number), Json::String(name)) = (value.trim().parse::<i32>(), name) else {
            return Err(bad(path, &format!("labels.{value}"), name.to_python(KeyOrder::Kept), expected));
        };
        if turned.insert(name.clone(), Json::from(number)).is_some() {
            return Err(bad(
                path,
                "labels",
                format!("two of the name {name:?}"),
                "a name of its own for each",
            ));
        }
    }
    Ok(turned)
}

fn bad(path: &Path, key: &str, found: String, expected: &str) -> DatasetError {
    DatasetError::BadValue {
        path: path.to_owned(),
        key: key.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

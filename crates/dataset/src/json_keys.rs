//! Reading the keys of dataset.json one by one, with errors that name what was found and expected.

use std::path::Path;

use indexmap::IndexMap;

use super::DatasetError;
use super::json::{ExplicitCase, LabelValue};
use nnunet_base::hint::Hint;
use nnunet_pyformats::json::Json;

/// The keys of the document under check.
pub(super) struct Keys<'a> {
    pub(super) document: &'a Json,
    pub(super) path: &'a Path,
}

impl<'a> Keys<'a> {
    pub(super) fn bad(&self, key: &str, found: &Json, expected: &str) -> DatasetError {
        let found = match found {
            Json::Array(_) | Json::Object(_) | Json::Null => found.kind().to_owned(),
            scalar => scalar.to_python(nnunet_pyformats::json::KeyOrder::Kept),
        };
        DatasetError::BadValue {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        }
    }

    /// The key of the channels. As in the reference, it may have the name that it had in version 1.
    pub(super) fn channels(&self) -> &'static str {
        let has = |key: &str| self.document.get(key).is_some();
        if has("modality") && !has("channel_names") { "modality" } else { "channel_names" }
    }

    pub(super) fn missing(&self, key: &'static str, expected: &'static str) -> DatasetError {
        let present: Vec<_> = self.document.as_object().into_iter().flat_map(|o| o.keys()).cloned().collect();
        DatasetError::MissingKey { path: self.path.to_owned(), key, expected, present: present.join(", ") }
    }

    pub(super) fn object(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<&'a IndexMap<String, Json>, DatasetError> {
        match self.document.get(key) {
            Some(Json::Object(entries)) => Ok(entries),
            Some(other) => Err(self.bad(key, other, expected)),
            None => Err(self.missing(key, expected)),
        }
    }

    /// Version 1 had labels from number to name.
    pub(super) fn refuse_version_1(&self) -> Result<(), DatasetError> {
        let turned = self.document.get("labels").and_then(Json::as_object).is_some_and(|labels| {
            !labels.is_empty() && labels.iter().all(|(k, v)| k.parse::<i64>().is_ok() && v.as_str().is_some())
        });
        if !turned {
            return Ok(());
        }
        let evidence = "its labels go from number to name".to_owned();
        Err(DatasetError::Version1 { path: self.path.to_owned(), evidence, hint: Hint::ConvertVersion1 })
    }

    pub(super) fn label_value(&self, name: &str, value: &Json) -> Result<LabelValue, DatasetError> {
        let bad = |value: &Json| {
            self.bad(&format!("labels.{name}"), value, "an integer of at least 0, or a list of them")
        };
        let single = |value: &Json| integer(value).filter(|&v| v >= 0).ok_or_else(|| bad(value));
        match value {
            Json::Array(items) if items.is_empty() => Err(bad(value)),
            Json::Array(items) => items.iter().map(single).collect::<Result<_, _>>().map(LabelValue::Region),
            other => single(other).map(LabelValue::Label),
        }
    }

    /// A listed case; where a channel is optional, `null` may stand in place of its file.
    pub(super) fn explicit_case(
        &self,
        name: &str,
        case: &Json,
        channels: &[&str],
        optional: &[usize],
    ) -> Result<ExplicitCase, DatasetError> {
        let bad =
            || self.bad(&format!("dataset.{name}"), case, "{\"images\": [\"...\"], \"label\": \"...\"}");
        let listed = case.get("images").and_then(Json::as_array).ok_or_else(bad)?;
        let label = case.get("label").and_then(Json::as_str).ok_or_else(bad)?;
        let (mut images, mut absent) = (Vec::new(), Vec::new());
        for (channel, image) in listed.iter().enumerate() {
            match image {
                Json::String(image) => images.push(image.clone()),
                Json::Null if optional.contains(&channel) => absent.push(channel),
                Json::Null => {
                    let channel = channels.get(channel).copied().unwrap_or("the channel");
                    let expected = format!("a file: {channel} is not among optional_channels");
                    return Err(self.bad(&format!("dataset.{name}.images"), image, &expected));
                }
                _ => return Err(bad()),
            }
        }
        if images.is_empty() && !absent.is_empty() {
            return Err(self.bad(
                &format!("dataset.{name}.images"),
                case,
                "at least one channel with a file",
            ));
        }
        Ok(ExplicitCase { images, absent, label: label.to_owned() })
    }

    /// `optional_channels`: names, or numbers as they stand in `channel_names`.
    pub(super) fn optional_channels(&self, channels: &[&str]) -> Result<Vec<usize>, DatasetError> {
        const KEY: &str = "optional_channels";
        let names = || format!("a list of names from channel_names: {}", channels.join(", "));
        let items = match self.document.get(KEY) {
            None | Some(Json::Null) => return Ok(Vec::new()),
            Some(Json::Array(items)) => items,
            Some(other) => return Err(self.bad(KEY, other, &names())),
        };
        let mut optional = Vec::with_capacity(items.len());
        for item in items {
            let channel = match item {
                Json::String(name) => channel_in(channels, name),
                other => integer(other).and_then(|n| usize::try_from(n).ok()).filter(|n| *n < channels.len()),
            };
            optional.push(channel.ok_or_else(|| self.bad(KEY, item, &names()))?);
        }
        optional.sort_unstable();
        optional.dedup();
        Ok(optional)
    }
}

/// The channel called `asked`, else the one of that number.
pub(super) fn channel_in(names: &[&str], asked: &str) -> Option<usize> {
    let number = || asked.parse().ok().filter(|number| *number < names.len());
    names.iter().position(|name| *name == asked).or_else(number)
}

/// A whole number, also where it was written as `1.0` or `"1"`, which Python's `int()` takes too.
pub(super) fn integer(value: &Json) -> Option<i32> {
    match value {
        Json::Int(v) => i32::try_from(*v).ok(),
        Json::Float(v) if v.fract() == 0.0 && v.abs() < 2f64.powi(31) => Some(*v as i32),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

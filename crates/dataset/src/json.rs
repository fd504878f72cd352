//! dataset.json of nnU-Net v2: channels, labels and regions, file ending, and whatever else is in it.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::DatasetError;
use super::annotated::{self, AnnotatedLabels};
use super::json_keys::{Keys, channel_in, integer};
use nnunet_base::spelling::closest;
use nnunet_pyformats::json::Json;

/// A dataset.json, checked. The whole document is kept: unknown keys survive a round trip.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetJson {
    /// Channel index (as text) to name, in the file's order: `channel_names`, or `modality` where there is none.
    pub channel_names: IndexMap<String, String>,
    /// Label or region name to value(s), in the file's order, `background` and `ignore` included.
    pub labels: IndexMap<String, LabelValue>,
    /// Label written for each region, in the order of the regions; later ones overwrite earlier ones.
    pub regions_class_order: Option<Vec<i32>>,
    /// Number of training cases that the author counted.
    pub num_training: Option<usize>,
    /// File ending of all images and labels with its dot, e.g. `.nii.gz`.
    pub file_ending: String,
    /// Name of the reader that the author asks for, instead of the one chosen by file ending.
    pub overwrite_image_reader_writer: Option<String>,
    /// Training cases listed in the file itself instead of imagesTr and labelsTr, in the file's order.
    pub dataset: Option<IndexMap<String, ExplicitCase>>,
    /// Channels that a case may lack, by their place in `channel_names`, ascending; not a key of the reference.
    pub optional_channels: Vec<usize>,
    /// Which labels were annotated in which case; all in all where it is absent. Not a key of the reference.
    pub annotated_labels: Option<AnnotatedLabels>,
    document: Json,
    path: PathBuf,
}

/// The value of a label: one number, or several that make a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelValue {
    /// A single label.
    Label(i32),
    /// The labels of a region, as listed.
    Region(Vec<i32>),
}

impl LabelValue {
    /// The values that belong to it.
    pub fn values(&self) -> &[i32] {
        match self {
            Self::Label(value) => std::slice::from_ref(value),
            Self::Region(values) => values,
        }
    }
}

/// A training case listed in dataset.json; paths as written, relative to the dataset's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplicitCase {
    /// The files of the channels that the case has, in the order of the channels.
    pub images: Vec<String>,
    /// The channels that it lacks, written as `null` in their places.
    pub absent: Vec<usize>,
    /// The segmentation.
    pub label: String,
}

impl DatasetJson {
    /// Reads and checks `path`.
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        Self::from_json(Json::load(path)?, path)
    }

    /// Checks a document; `path` is for messages only.
    pub fn from_json(document: Json, path: &Path) -> Result<Self, DatasetError> {
        let keys = Keys { document: &document, path };
        let Some(entries) = document.as_object() else {
            return Err(keys.bad("the document", &document, "an object"));
        };
        keys.refuse_version_1()?;

        let channel_names = keys
            .object(keys.channels(), "an object like {\"0\": \"CT\"}")?
            .iter()
            .map(|(index, name)| match name {
                Json::String(name) => Ok((index.clone(), name.clone())),
                _ => Err(keys.bad(&format!("channel_names.{index}"), name, "the channel's name as a string")),
            })
            .collect::<Result<IndexMap<_, _>, _>>()?;
        if channel_names.is_empty() {
            return Err(keys.bad("channel_names", &Json::Null, "at least one channel"));
        }

        let labels = keys
            .object("labels", "an object like {\"background\": 0, \"tumour\": 1}")?
            .iter()
            .map(|(name, value)| Ok((name.clone(), keys.label_value(name, value)?)))
            .collect::<Result<IndexMap<_, _>, DatasetError>>()?;

        let regions_class_order = match entries.get("regions_class_order") {
            None | Some(Json::Null) => None,
            Some(Json::Array(items)) => Some(
                items
                    .iter()
                    .map(|item| {
                        integer(item).ok_or_else(|| keys.bad("regions_class_order", item, "integers"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Some(other) => return Err(keys.bad("regions_class_order", other, "a list of labels")),
        };
        let num_training = match entries.get("numTraining") {
            None => None,
            Some(value) => Some(
                integer(value)
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| keys.bad("numTraining", value, "the number of training cases"))?,
            ),
        };
        let file_ending = match entries.get("file_ending") {
            Some(Json::String(ending)) if ending.len() > 1 && ending.starts_with('.') => ending.clone(),
            Some(other) => {
                return Err(keys.bad("file_ending", other, "a file ending with its dot, as \".nii.gz\""));
            }
            None => {
                return Err(
                    keys.missing("file_ending", "the ending of all images and labels, as \".nii.gz\"")
                );
            }
        };
        let overwrite_image_reader_writer = match entries.get("overwrite_image_reader_writer") {
            None | Some(Json::Null) => None,
            Some(Json::String(name)) => (name != "None").then(|| name.clone()),
            Some(other) => {
                return Err(keys.bad("overwrite_image_reader_writer", other, "the name of a reader"));
            }
        };
        let channels: Vec<&str> = channel_names.values().map(String::as_str).collect();
        let annotated_labels = match (entries.get(annotated::KEY), entries.get("annotated")) {
            (None, Some(Json::Object(other)))
                if other.contains_key("cases") || other.contains_key("default") =>
            {
                return Err(keys.bad("annotated", &Json::Null, "the key annotated_labels in its place"));
            }
            (None | Some(Json::Null), _) => None,
            (Some(entry), _) => Some(
                AnnotatedLabels::from_json(entry, &labels)
                    .map_err(|(key, found, expected)| keys.bad(&key, found, &expected))?,
            ),
        };
        let optional_channels = keys.optional_channels(&channels)?;
        let dataset = match entries.get("dataset") {
            None => None,
            Some(Json::Object(cases)) => Some(
                cases
                    .iter()
                    .map(|(name, case)| {
                        Ok((name.clone(), keys.explicit_case(name, case, &channels, &optional_channels)?))
                    })
                    .collect::<Result<_, DatasetError>>()?,
            ),
            Some(other) => {
                return Err(keys.bad(
                    "dataset",
                    other,
                    "an object of cases, each with \"images\" and \"label\"",
                ));
            }
        };
        Ok(Self {
            channel_names,
            labels,
            regions_class_order,
            num_training,
            file_ending,
            overwrite_image_reader_writer,
            dataset,
            optional_channels,
            annotated_labels,
            path: path.to_owned(),
            document,
        })
    }

    /// The whole document, unknown keys included.
    pub fn document(&self) -> &Json {
        &self.document
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of input channels.
    pub fn num_channels(&self) -> usize {
        self.channel_names.len()
    }

    /// The name of channel `channel`, or its number where there is no such channel.
    pub fn channel_name(&self, channel: usize) -> String {
        self.channel_names.get_index(channel).map_or_else(|| channel.to_string(), |(_, name)| name.clone())
    }

    /// The channel of a name or, where no channel is called that, of a number.
    ///
    /// # Errors
    /// No such channel.
    pub fn channel(&self, asked: &str) -> Result<usize, DatasetError> {
        let names: Vec<&str> = self.channel_names.values().map(String::as_str).collect();
        channel_in(&names, asked).ok_or_else(|| DatasetError::UnknownChannel {
            path: self.path.clone(),
            found: asked.to_owned(),
            suggestion: closest(asked, names.iter().copied())
                .map_or_else(String::new, |meant| format!(" (did you mean {meant}?)")),
            known: names.join(", "),
        })
    }

    /// Replaces `$NAME` and `${NAME}` in the paths of the cases listed under `dataset`, as the reference
    /// does with environment variables. Variables that `lookup` does not know stay as they are.
    pub fn expand_variables(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        for case in self.dataset.iter_mut().flat_map(|cases| cases.values_mut()) {
            for path in case.images.iter_mut().chain([&mut case.label]) {
                *path = expand(path, &lookup);
            }
        }
    }
}

fn expand(text: &str, lookup: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, length) = match braced {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end + 1)
            }
        };
        let whole = &rest[start..start + length];
        out.push_str(&lookup(name).unwrap_or_else(|| whole.to_owned()));
        rest = &rest[start + length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use nnunet_base::hint::Hint;

    use super::*;

    fn parse(text: &str) -> Result<DatasetJson, DatasetError> {
        DatasetJson::from_json(Json::parse(text).unwrap(), Path::new("d/dataset.json"))
    }

    #[test]
    fn everything_of_a_dataset_json_is_read_and_unknown_keys_are_kept() {
        let json = parse(
            r#"{"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz", "numTraining": 2,
                "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2],
                "overwrite_image_reader_writer": "SimpleITKIO", "licence": "CC0",
                "dataset": {"b": {"images": ["$DATA/b.nii.gz", "x/${DATA}_$NO"], "label": "b_seg.nii.gz"}}}"#,
        );
        let mut json = json.unwrap();
        assert_eq!(json.num_channels(), 2);
        assert_eq!(json.labels["whole"], LabelValue::Region(vec![1, 2]));
        assert_eq!(json.labels["ignore"], LabelValue::Label(3));
        assert_eq!(json.overwrite_image_reader_writer.as_deref(), Some("SimpleITKIO"));
        assert_eq!(json.document().get("licence").unwrap().as_str(), Some("CC0"));
        json.expand_variables(|name| (name == "DATA").then(|| "/data".to_owned()));
        let case = &json.dataset.unwrap()["b"];
        assert_eq!(case.images, ["/data/b.nii.gz", "x//data_$NO"]);
    }

    #[test]
    fn optional_channels_are_names_or_numbers_of_channels() {
        let with = |rest: &str| {
            parse(&format!(
                r#"{{"channel_names": {{"0": "T1", "1": "T1ce", "2": "7"}}, "labels": {{"background": 0}},
                    "file_ending": ".nii.gz", {rest}}}"#
            ))
        };
        let json = with(r#""optional_channels": ["7", "T1ce", 1]"#).unwrap();
        assert_eq!(json.optional_channels, [1, 2]);
        assert_eq!(["T1", "2", "7"].map(|name| json.channel(name).unwrap()), [0, 2, 2]);
        let error = json.channel("t1CE").unwrap_err().to_string();
        assert!(
            error.contains("no channel \"t1CE\" (did you mean T1ce?); its channels: T1, T1ce, 7"),
            "{error}"
        );
        let error = with(r#""optional_channels": ["T2"]"#).unwrap_err().to_string();
        assert_eq!(
            error,
            "d/dataset.json: optional_channels: found \"T2\", expected a list of names from channel_names: T1, T1ce, 7"
        );
        assert!(
            with(r#""optional_channels": [3]"#).is_err() && with(r#""optional_channels": "T1""#).is_err()
        );

        let listed = |images: &str| {
            let cases = format!(r#""dataset": {{"a": {{"images": {images}, "label": "l"}}}}"#);
            with(&format!(r#""optional_channels": ["T1", "T1ce", "7"], {cases}"#))
        };
        let case = &listed(r#"["x", null, "z"]"#).unwrap().dataset.unwrap()["a"];
        assert_eq!(
            (case.images.as_slice(), case.absent.as_slice()),
            (&["x".into(), "z".into()][..], &[1][..])
        );
        assert!(listed("[null, null, null]").unwrap_err().to_string().contains("at least one channel"));
        let error = with(r#""dataset": {"a": {"images": ["x", null, "z"], "label": "l"}}"#).unwrap_err();
        assert!(error.to_string().contains("T1ce is not among optional_channels"), "{error}");
    }

    #[test]
    fn version_1_is_named_and_told_how_to_convert() {
        for text in [
            r#"{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"}, "numTraining": 1}"#,
            r#"{"channel_names": {"0": "MRI"}, "labels": {"0": "background"}, "file_ending": ".nii.gz"}"#,
        ] {
            let error = parse(text).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("nnU-Net v1") && message.contains("channel_names"), "{message}");
            assert_eq!(Hint::of(&error), Some(&Hint::ConvertVersion1));
        }
    }

    #[test]
    fn channels_may_be_called_modality() {
        let labels = r#""labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz""#;
        let json = parse(&format!(r#"{{"modality": {{"0": "MRI", "1": "CT"}}, {labels}}}"#)).unwrap();
        assert_eq!(json.channel_names.values().collect::<Vec<_>>(), ["MRI", "CT"]);
        assert!(json.document().get("modality").is_some(), "the document stays as it is");
        let both =
            format!(r#"{{"modality": {{"0": "MRI"}}, "channel_names": {{"0": "T1", "1": "T2"}}, {labels}}}"#);
        assert_eq!(parse(&both).unwrap().num_channels(), 2);
        assert!(parse(&format!("{{{labels}}}")).unwrap_err().to_string().contains("channel_names"));
    }

    #[test]
    fn errors_name_key_found_and_expected() {
        let with = |labels: &str, rest: &str| {
            parse(&format!(r#"{{"channel_names": {{"0": "CT"}}, "labels": {labels}, {rest}}}"#))
                .unwrap_err()
                .to_string()
        };
        let ending = r#""file_ending": ".nii.gz""#;
        assert_eq!(
            with(r#"{"background": 0, "a": 1.5}"#, ending),
            "d/dataset.json: labels.a: found 1.5, expected an integer of at least 0, or a list of them"
        );
        assert_eq!(
            with(r#"{"background": 0}"#, r#""x": 1"#),
            "d/dataset.json: key \"file_ending\" is missing; expected the ending of all images and labels, as \
             \".nii.gz\". Present: channel_names, labels, x"
        );
        assert!(
            with(r#"{"background": 0}"#, r#""file_ending": "nii""#)
                .contains("expected a file ending with its dot")
        );
        assert!(with(r#"{"background": 0, "r": []}"#, ending).contains("labels.r: found a list"));
        assert!(
            with(
                r#"{"background": 0}"#,
                r#""file_ending": ".png", "dataset": {"a": {"images": [1], "label": "l"}}"#
            )
            .contains("dataset.a")
        );
        assert!(parse("[]").unwrap_err().to_string().contains("expected an object"));
    }

    #[test]
    fn integers_written_otherwise_are_taken_as_python_does() {
        let json = parse(
            r#"{"channel_names": {"0": "CT"}, "labels": {"background": "0", "a": 1.0}, "file_ending": ".nii"}"#,
        );
        assert_eq!(json.unwrap().labels["a"], LabelValue::Label(1));
    }
}

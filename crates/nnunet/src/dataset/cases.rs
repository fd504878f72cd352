//! Which cases there are: images by the `_0000` rule, with their labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DatasetError;
use super::json::DatasetJson;

/// One case: its files, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The name without channel and file ending.
    pub identifier: String,
    /// One file per channel, in the order of the channels.
    pub images: Vec<PathBuf>,
    /// The segmentation; only training cases have one.
    pub label: Option<PathBuf>,
}

/// What a folder of images holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The cases, sorted by identifier (by code points, as NumPy sorts).
    pub cases: Vec<Case>,
    /// Files with the right ending whose name has no channel, such as `case.nii.gz`.
    pub without_channel: Vec<PathBuf>,
}

/// The training cases of a raw dataset: those listed under `dataset` in its dataset.json, in that order,
/// else those of imagesTr, each with its file of labelsTr, whether that exists or not.
///
/// # Errors
/// The folder cannot be listed, or has no case.
pub fn training_cases(folder: &Path, json: &DatasetJson) -> Result<Vec<Case>, DatasetError> {
    if let Some(listed) = &json.dataset {
        let resolve = |path: &String| folder.join(path);
        let cases: Vec<_> = listed
            .iter()
            .map(|(identifier, case)| Case {
                identifier: identifier.clone(),
                images: case.images.iter().map(resolve).collect(),
                label: Some(resolve(&case.label)),
            })
            .collect();
        if cases.is_empty() {
            let hint = "; the list \"dataset\" in dataset.json is empty".to_owned();
            return Err(no_cases(folder, json, hint));
        }
        return Ok(cases);
    }
    let images = folder.join("imagesTr");
    let mut found = discover(&images, &json.file_ending)?;
    if found.cases.is_empty() {
        return Err(no_cases(&images, json, hint(&images, &found)));
    }
    let labels = folder.join("labelsTr");
    for case in &mut found.cases {
        case.label = Some(labels.join(format!("{}{}", case.identifier, json.file_ending)));
    }
    Ok(found.cases)
}

/// The cases of `input` for prediction: a folder of images, or a single file of a case whose other
/// channels lie beside it.
///
/// A single file may do without `_0000` if there is only one channel.
///
/// # Errors
/// `input` cannot be listed, has no case, or is a file of another ending.
pub fn prediction_cases(input: &Path, json: &DatasetJson) -> Result<Vec<Case>, DatasetError> {
    if !input.is_file() {
        let found = discover(input, &json.file_ending)?;
        return match found.cases.is_empty() {
            true => Err(no_cases(input, json, hint(input, &found))),
            false => Ok(found.cases),
        };
    }
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(stem) = name.strip_suffix(&json.file_ending) else {
        return Err(DatasetError::BadValue {
            path: input.to_owned(),
            key: "file ending".into(),
            found: name,
            expected: format!("a file ending in {}, as the model's training data", json.file_ending),
        });
    };
    match split_channel(stem) {
        Some((identifier, _)) => {
            let folder = input.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut found = discover(folder, &json.file_ending)?;
            found.cases.retain(|case| case.identifier == identifier);
            Ok(found.cases)
        }
        None => Ok(vec![Case { identifier: stem.to_owned(), images: vec![input.to_owned()], label: None }]),
    }
}

/// The case whose channels are `files`, in this order. Names that number the channel (`CASE_0000.nii.gz`)
/// have to agree with it.
///
/// # Errors
/// Files of another ending or with another channel's number.
pub fn case_of_files(files: &[PathBuf], json: &DatasetJson) -> Result<Case, DatasetError> {
    let mut identifier = None;
    for (channel, path) in files.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wrong = |found: &str, expected: String| DatasetError::BadValue {
            path: path.clone(),
            key: format!("file of channel {channel}"),
            found: found.to_owned(),
            expected,
        };
        let stem = name.strip_suffix(&json.file_ending).ok_or_else(|| {
            wrong(&name, format!("a file ending in {}, as the model's training data", json.file_ending))
        })?;
        let stem = match split_channel(stem) {
            Some((case, number)) if number.parse() == Ok(channel) => case,
            Some((_, number)) => {
                return Err(wrong(
                    number,
                    format!("number {channel:04}: give the files in the order of channels"),
                ));
            }
            None => stem,
        };
        identifier.get_or_insert_with(|| stem.to_owned());
    }
    let identifier = identifier.unwrap_or_default();
    Ok(Case { identifier, images: files.to_vec(), label: None })
}

/// Sorts the files of a folder into cases: `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ... Subfolders, hidden
/// files and files with another ending do not count.
pub fn discover(folder: &Path, file_ending: &str) -> Result<Discovery, DatasetError> {
    let mut by_identifier: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    let mut found = Discovery::default();
    for path in files_with_ending(folder, file_ending)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.strip_suffix(file_ending).and_then(split_channel) {
            Some((identifier, channel)) => {
                by_identifier.entry(identifier.to_owned()).or_default().insert(channel.to_owned(), path);
            }
            None => found.without_channel.push(path),
        }
    }
    found.cases = by_identifier
        .into_iter()
        .map(|(identifier, images)| Case { identifier, images: images.into_values().collect(), label: None })
        .collect();
    Ok(found)
}

/// The files of a folder that end in `file_ending`, sorted by name; hidden ones are left out.
pub fn files_with_ending(folder: &Path, file_ending: &str) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |source| DatasetError::Io {
        path: folder.to_owned(),
        expected: "a folder that can be listed",
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(file_ending) && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The channel that a file of a case is for: the four digits after the last underscore.
pub fn channel_of(path: &Path, file_ending: &str) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    split_channel(name.strip_suffix(file_ending)?)?.1.parse().ok()
}

/// `CASE_0000` -> (`CASE`, `0000`).
fn split_channel(stem: &str) -> Option<(&str, &str)> {
    let (identifier, channel) = stem.rsplit_once('_')?;
    let valid = channel.len() == 4 && channel.bytes().all(|b| b.is_ascii_digit()) && !identifier.is_empty();
    valid.then_some((identifier, channel))
}

fn no_cases(path: &Path, json: &DatasetJson, hint: String) -> DatasetError {
    DatasetError::NoCases { path: path.to_owned(), file_ending: json.file_ending.clone(), hint }
}

/// What is in the folder instead of cases.
fn hint(folder: &Path, found: &Discovery) -> String {
    if let Some(example) = found.without_channel.first() {
        let name = example.file_name().unwrap_or_default().to_string_lossy();
        return format!(
            "; {name} has no channel in its name: rename it to end in _0000, one number per channel"
        );
    }
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let shown = names.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "; the folder is empty".to_owned(),
        count if count > 5 => format!("; the folder has {count} other entries: {shown}, ..."),
        _ => format!("; the folder has other entries: {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    fn json(rest: &str) -> DatasetJson {
        let text = format!(
            r#"{{"channel_names": {{"0": "CT"}}, "labels": {{"background": 0}}, "file_ending": ".nii.gz"{rest}}}"#
        );
        DatasetJson::from_json(Json::parse(&text).unwrap(), Path::new("dataset.json")).unwrap()
    }

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        root
    }

    fn names(cases: &[Case]) -> Vec<(&str, usize)> {
        cases.iter().map(|c| (c.identifier.as_str(), c.images.len())).collect()
    }

    #[test]
    fn training_cases_pair_images_and_labels() {
        let root = folder(&[
            "imagesTr/b_10_0000.nii.gz",
            "imagesTr/b_1_0001.nii.gz",
            "imagesTr/b_1_0000.nii.gz",
            "imagesTr/._b_1_0000.nii.gz",
            "imagesTr/notes.txt",
            "imagesTr/stray.nii.gz",
            "labelsTr/b_1.nii.gz",
        ]);
        let cases = training_cases(root.path(), &json("")).unwrap();
        assert_eq!(names(&cases), [("b_1", 2), ("b_10", 1)]);
        assert_eq!(cases[0].images[1], root.path().join("imagesTr/b_1_0001.nii.gz"));
        assert_eq!(cases[1].label, Some(root.path().join("labelsTr/b_10.nii.gz")));
        let found = discover(&root.path().join("imagesTr"), ".nii.gz").unwrap();
        assert_eq!(found.without_channel, [root.path().join("imagesTr/stray.nii.gz")]);
        assert_eq!(channel_of(&cases[0].images[1], ".nii.gz"), Some(1));
    }

    #[test]
    fn listed_cases_keep_their_order_and_are_relative_to_the_dataset() {
        let json = json(
            r#", "dataset": {"z": {"images": ["imagesTr/z.nii.gz"], "label": "/abs/z.nii.gz"},
                            "a": {"images": ["../a.nii.gz"], "label": "a_seg.nii.gz"}}"#,
        );
        let cases = training_cases(Path::new("/raw/D"), &json).unwrap();
        assert_eq!(names(&cases), [("z", 1), ("a", 1)]);
        assert_eq!(cases[0].images[0], Path::new("/raw/D/imagesTr/z.nii.gz"));
        assert_eq!(cases[0].label.as_deref(), Some(Path::new("/abs/z.nii.gz")));
    }

    #[test]
    fn empty_folders_say_what_is_there_instead() {
        let message = |names: &[&str]| {
            let root = folder(names);
            std::fs::create_dir_all(root.path().join("imagesTr")).unwrap();
            training_cases(root.path(), &json("")).unwrap_err().to_string()
        };
        assert!(message(&[]).ends_with("expected files named CASE_0000.nii.gz; the folder is empty"));
        assert!(message(&["imagesTr/a.nii.gz"]).contains("a.nii.gz has no channel in its name"));
        assert!(message(&["imagesTr/a_0000.nrrd"]).contains("has other entries: a_0000.nrrd"));
        let error = training_cases(Path::new("/nowhere"), &json("")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/imagesTr") && error.contains("expected a folder"), "{error}");
    }

    #[test]
    fn files_of_one_case_come_in_the_order_of_channels() {
        let case = |names: &[&str]| {
            let files: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            case_of_files(&files, &json(""))
        };
        let found = case(&["x/a_0000.nii.gz", "y/b_0001.nii.gz"]).unwrap();
        assert_eq!((found.identifier.as_str(), found.images.len()), ("a", 2));
        assert_eq!(case(&["t1.nii.gz", "t2.nii.gz"]).unwrap().identifier, "t1");
        let error = case(&["a_0001.nii.gz", "a_0000.nii.gz"]).unwrap_err().to_string();
        assert!(error.contains("0001") && error.contains("order of channels"), "{error}");
        assert!(case(&["a_0000.nrrd"]).unwrap_err().to_string().contains(".nii.gz"));
    }

    #[test]
    fn a_single_file_brings_its_other_channels() {
        let root = folder(&["a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "scan.nii.gz", "x.png"]);
        let at = |name: &str| prediction_cases(&root.path().join(name), &json(""));
        assert_eq!(names(&at("a_0000.nii.gz").unwrap()), [("a", 2)]);
        assert_eq!(names(&at("scan.nii.gz").unwrap()), [("scan", 1)]);
        assert!(at("x.png").unwrap_err().to_string().contains("a file ending in .nii.gz"));
        assert_eq!(names(&at("").unwrap()), [("a", 2), ("b", 1)]);
    }
}

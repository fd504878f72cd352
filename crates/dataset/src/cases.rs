//! Which cases there are: images by the `_0000` rule, with their labels.

use std::path::{Path, PathBuf};

use super::DatasetError;
use super::channels::settle;
use super::discovery::hint;
pub use super::discovery::{Discovery, channel_of, discover, files_with_ending};
use super::json::DatasetJson;
pub use super::prediction_cases::{case_of_files, prediction_cases, prediction_cases_with_warnings};
use nnunet_base::progress::{Event, Progress, Silent};

/// One case: its files, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The name without channel and file ending.
    pub identifier: String,
    /// The files of the channels that it has, in the order of the channels.
    pub images: Vec<PathBuf>,
    /// The channels that it lacks and may lack, ascending; see [`Case::present`].
    pub absent: Vec<usize>,
    /// The segmentation; only training cases have one.
    pub label: Option<PathBuf>,
}

/// The training cases of a raw dataset: those listed under `dataset` in its dataset.json, in that order,
/// else those of imagesTr, each with its file of labelsTr, whether that exists or not. Files of imagesTr that belong to
/// no case are a warning, one for all; each case whose channels are not numbered 0, 1, 2, ... is one.
///
/// Channels among `optional_channels` of dataset.json may have no file.
///
/// # Errors
/// The folder cannot be listed, or has no case; cases without a file that they must have where others are optional.
pub fn training_cases_with_warnings(
    folder: &Path,
    json: &DatasetJson,
    progress: &dyn Progress,
) -> Result<Vec<Case>, DatasetError> {
    let mut cases = found_training_cases(folder, json, progress)?;
    if json.dataset.is_none() {
        settle(&mut cases, &folder.join("imagesTr"), json, &[])?;
    }
    Ok(cases)
}

/// The training cases with the files that there are, whether these are all that they must have or not.
pub(super) fn found_training_cases(
    folder: &Path,
    json: &DatasetJson,
    progress: &dyn Progress,
) -> Result<Vec<Case>, DatasetError> {
    if let Some(listed) = &json.dataset {
        let resolve = |path: &String| folder.join(path);
        let cases: Vec<_> = listed
            .iter()
            .map(|(identifier, case)| Case {
                identifier: identifier.clone(),
                images: case.images.iter().map(resolve).collect(),
                absent: case.absent.clone(),
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
    warn_of_ignored(&found, &images, &json.file_ending, progress);
    warn_of_numbering(&found.cases, json, progress);
    let labels = folder.join("labelsTr");
    for case in &mut found.cases {
        case.label = Some(labels.join(format!("{}{}", case.identifier, json.file_ending)));
    }
    Ok(found.cases)
}

/// [`training_cases_with_warnings`] without the warnings.
///
/// # Errors
/// The folder cannot be listed, or has no case.
pub fn training_cases(folder: &Path, json: &DatasetJson) -> Result<Vec<Case>, DatasetError> {
    training_cases_with_warnings(folder, json, &Silent)
}

pub(super) fn warn_of_ignored(found: &Discovery, folder: &Path, file_ending: &str, progress: &dyn Progress) {
    if let Some(text) = found.ignored(folder, file_ending) {
        progress.event(Event::Warning(&text));
    }
}

/// Files become channels in the order of their numbers, as in the reference, so a gap moves all that follow it.
/// Where channels may be missing, files belong to the channels of their numbers.
pub(super) fn warn_of_numbering(cases: &[Case], json: &DatasetJson, progress: &dyn Progress) {
    if !json.optional_channels.is_empty() {
        return;
    }
    let file_ending = &json.file_ending;
    let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    for case in cases {
        let found: Vec<usize> = case.images.iter().filter_map(|path| channel_of(path, file_ending)).collect();
        let expected: Vec<usize> = (0..found.len()).collect();
        if found != expected {
            let (case, found, expected) = (&case.identifier, list(&found), list(&expected));
            progress.event(Event::Warning(&format!(
                "case {case}: its channels are numbered {found}, expected {expected}; they are taken in this order"
            )));
        }
    }
}

pub(super) fn no_cases(path: &Path, json: &DatasetJson, hint: String) -> DatasetError {
    DatasetError::NoCases { path: path.to_owned(), file_ending: json.file_ending.clone(), hint }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use nnunet_testkit::warnings::Warnings;

    use super::*;
    use nnunet_pyformats::json::Json;

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
            case_of_files(&files, &json(""), &[])
        };
        let found = case(&["x/a_0000.nii.gz", "y/b_0001.nii.gz"]).unwrap();
        assert_eq!((found.identifier.as_str(), found.images.len()), ("a", 2));
        assert_eq!(case(&["t1.nii.gz", "t2.nii.gz"]).unwrap().identifier, "t1");
        let error = case(&["a_0001.nii.gz", "a_0000.nii.gz"]).unwrap_err().to_string();
        assert!(error.contains("0001") && error.contains("order of channels"), "{error}");
        assert!(case(&["a_0000.nrrd"]).unwrap_err().to_string().contains(".nii.gz"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_case_beside_cases_is_one_warning() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let root = folder(&[
            "imagesTr/a_0000.nii.gz",
            "imagesTr/s1.nii.gz",
            "imagesTr/s2.nii.gz",
            "imagesTr/s3.nii.gz",
            "imagesTr/s4.nii.gz",
            "imagesTr/notes.txt",
            "elsewhere/d.nii.gz",
        ]);
        let images = root.path().join("imagesTr");
        std::os::unix::fs::symlink("nowhere.nii.gz", images.join("b_0000.nii.gz")).unwrap();
        std::os::unix::fs::symlink("../elsewhere/d.nii.gz", images.join("d_0000.nii.gz")).unwrap();
        let latin_1 = images.join(OsStr::from_bytes(b"caf\xe9_0000.nii.gz"));
        std::fs::write(&latin_1, b"").unwrap();

        let warnings = Warnings::default();
        let cases = training_cases_with_warnings(root.path(), &json(""), &warnings).unwrap();
        assert_eq!(names(&cases), [("a", 1), ("d", 1)], "a link to a file is a file");
        let said = warnings.said();
        let [text] = said.as_slice() else { panic!("{said:?}") };
        assert!(text.starts_with(&format!("{}: 6 files are not used: ", images.display())), "{text}");
        for words in
            ["s1.nii.gz, s2.nii.gz, s3.nii.gz, ... (no channel", "b_0000.nii.gz (a link", "caf", "UTF-8"]
        {
            assert!(text.contains(words), "{words:?} in {text}");
        }
        assert!(!text.contains("s4") && !text.contains("notes.txt"), "{text}");

        let warnings = Warnings::default();
        prediction_cases_with_warnings(&images, &json(""), &[], &warnings).unwrap();
        assert_eq!(warnings.said(), said, "the same where predictions are made");
        for named in [
            prediction_cases(&latin_1, &json("")),
            case_of_files(&[latin_1], &json(""), &[]).map(|c| vec![c]),
        ] {
            let error = named.unwrap_err().to_string();
            assert!(error.contains("valid UTF-8"), "{error}");
        }

        let only_link = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", only_link.path().join("b_0000.nii.gz")).unwrap();
        let error = prediction_cases(only_link.path(), &json("")).unwrap_err().to_string();
        assert!(error.contains("b_0000.nii.gz is a link to a file that does not exist"), "{error}");
    }

    #[test]
    fn channels_that_are_not_numbered_from_0_are_a_warning_for_each_case() {
        let root = folder(&[
            "imagesTr/a_0000.nii.gz",
            "imagesTr/a_0001.nii.gz",
            "imagesTr/b_0001.nii.gz",
            "imagesTr/c_0000.nii.gz",
            "imagesTr/c_0003.nii.gz",
        ]);
        let images = root.path().join("imagesTr");
        let b = "case b: its channels are numbered 1, expected 0; they are taken in this order";
        let c = "case c: its channels are numbered 0, 3, expected 0, 1; they are taken in this order";

        let warnings = Warnings::default();
        let cases = training_cases_with_warnings(root.path(), &json(""), &warnings).unwrap();
        assert_eq!(names(&cases), [("a", 2), ("b", 1), ("c", 2)]);
        assert_eq!(warnings.said(), [b, c]);
        let warnings = Warnings::default();
        prediction_cases_with_warnings(&images, &json(""), &[], &warnings).unwrap();
        assert_eq!(warnings.said(), [b, c]);
        let warnings = Warnings::default();
        prediction_cases_with_warnings(&images.join("b_0001.nii.gz"), &json(""), &[], &warnings).unwrap();
        assert_eq!(warnings.said(), [b]);
    }

    #[test]
    fn images_with_another_ending_are_among_the_unused() {
        let root = folder(&[
            "a_0000.nii.gz",
            "c_0000.nii",
            "D_0000.NII.GZ",
            "q_0000.nrrd",
            "r_0000.nrrd",
            ".s_0000.nrrd",
            "a_0000.json",
            "table.csv",
            "picture.jpg",
            "folder.nii/x.txt",
        ]);
        let warnings = Warnings::default();
        prediction_cases_with_warnings(root.path(), &json(""), &[], &warnings).unwrap();
        let expected = format!(
            "{}: 4 files are not used: D_0000.NII.GZ (ending .NII.GZ instead of .nii.gz); c_0000.nii (ending .nii \
             instead of .nii.gz); q_0000.nrrd, r_0000.nrrd (ending .nrrd instead of .nii.gz)",
            root.path().display()
        );
        assert_eq!(warnings.said(), [expected]);
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

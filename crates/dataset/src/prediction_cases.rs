//! The cases to segment: of a folder, or of files.

use std::path::{Path, PathBuf};

use super::DatasetError;
use super::cases::{Case, no_cases, warn_of_ignored, warn_of_numbering};
use super::channels::settle;
use super::discovery::{discover, hint, split_channel};
use super::json::DatasetJson;
use nnunet_base::progress::{Progress, Silent};

/// The cases of `input` for prediction: a folder of images, or a single file of a case whose other
/// channels lie beside it. Files of a folder that belong to no case are a warning, one for all; each case whose
/// channels are not numbered 0, 1, 2, ... is one.
///
/// A single file may do without `_0000` if there is only one channel.
///
/// Cases are without the channels `left_out`, whether they have their files or not, and may be without those among
/// `optional_channels` of dataset.json.
///
/// # Errors
/// `input` cannot be listed, has no case, or is a file of another ending or with a name that is not valid UTF-8; cases
/// without a file that they must have where others are optional.
pub fn prediction_cases_with_warnings(
    input: &Path,
    json: &DatasetJson,
    left_out: &[usize],
    progress: &dyn Progress,
) -> Result<Vec<Case>, DatasetError> {
    let mut cases = found_prediction_cases(input, json, left_out, progress)?;
    settle(&mut cases, input, json, left_out)?;
    Ok(cases)
}

fn found_prediction_cases(
    input: &Path,
    json: &DatasetJson,
    left_out: &[usize],
    progress: &dyn Progress,
) -> Result<Vec<Case>, DatasetError> {
    // Files belong to the channels of their numbers where any may be missing.
    let warn_of_numbering = |cases: &[Case]| {
        if left_out.is_empty() {
            warn_of_numbering(cases, json, progress);
        }
    };
    if !input.is_file() {
        let found = discover(input, &json.file_ending)?;
        if found.cases.is_empty() {
            return Err(no_cases(input, json, hint(input, &found)));
        }
        warn_of_ignored(&found, input, &json.file_ending, progress);
        warn_of_numbering(&found.cases);
        return Ok(found.cases);
    }
    let name = unicode_name(input)?;
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
            warn_of_numbering(&found.cases);
            Ok(found.cases)
        }
        None => Ok(vec![unnumbered(stem, &[input.to_owned()], json, left_out)?]),
    }
}

/// [`prediction_cases_with_warnings`] without the warnings.
///
/// # Errors
/// As there.
pub fn prediction_cases(input: &Path, json: &DatasetJson) -> Result<Vec<Case>, DatasetError> {
    prediction_cases_with_warnings(input, json, &[], &Silent)
}

/// The name of a file of a case, which becomes a part of other files' names.
fn unicode_name(path: &Path) -> Result<String, DatasetError> {
    let name = path.file_name().unwrap_or_default();
    name.to_str().map(str::to_owned).ok_or_else(|| DatasetError::BadValue {
        path: path.to_owned(),
        key: "file name".into(),
        found: format!("{name:?}"),
        expected: "a name that is valid UTF-8; rename the file".into(),
    })
}

/// The case whose channels but for `left_out` are `files`, in this order. Names that number the channel
/// (`CASE_0000.nii.gz`) have to agree with it; where channels are optional and all names are numbered, the files are those
/// of their numbers.
///
/// # Errors
/// Files of another ending or with another channel's number; a file that the case must have is missing.
pub fn case_of_files(
    files: &[PathBuf],
    json: &DatasetJson,
    left_out: &[usize],
) -> Result<Case, DatasetError> {
    let mut stems = Vec::with_capacity(files.len());
    for (place, path) in files.iter().enumerate() {
        let name = unicode_name(path)?;
        let stem = name.strip_suffix(&json.file_ending).ok_or_else(|| {
            let expected = format!("a file ending in {}, as the model's training data", json.file_ending);
            wrong_file(path, place, &name, expected)
        })?;
        stems.push(stem.to_owned());
    }
    let numbered: Option<Vec<(&str, usize)>> = stems
        .iter()
        .map(|stem| split_channel(stem).and_then(|(case, number)| Some((case, number.parse().ok()?))))
        .collect();
    let ascending = |found: &[(&str, usize)]| found.is_sorted_by(|a, b| a.1 < b.1);
    let first = stems.first().map(String::as_str).unwrap_or_default();
    let may_lack = !json.optional_channels.is_empty() || !left_out.is_empty();
    if let Some(found) = numbered.filter(|found| may_lack && ascending(found)) {
        let identifier = found.first().map_or(first, |(case, _)| case).to_owned();
        let mut cases = [Case { identifier, images: files.to_vec(), absent: Vec::new(), label: None }];
        let folder = files.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        settle(&mut cases, folder, json, left_out)?;
        let [case] = cases;
        return Ok(case);
    }
    let channels = (0..).filter(|channel| !left_out.contains(channel));
    for (place, ((stem, path), channel)) in stems.iter().zip(files).zip(channels).enumerate() {
        if let Some((_, number)) = split_channel(stem)
            && number.parse() != Ok(channel)
        {
            let expected = format!("number {channel:04}: give the files in the order of channels");
            return Err(wrong_file(path, place, number, expected));
        }
    }
    let identifier = split_channel(first).map_or(first, |(case, _)| case);
    unnumbered(identifier, files, json, left_out)
}

fn wrong_file(path: &Path, place: usize, found: &str, expected: String) -> DatasetError {
    let (path, key) = (path.to_owned(), format!("file of channel {place}"));
    DatasetError::BadValue { path, key, found: found.to_owned(), expected }
}

/// The case of files that are those of all channels but `left_out`, in order.
fn unnumbered(
    identifier: &str,
    files: &[PathBuf],
    json: &DatasetJson,
    left_out: &[usize],
) -> Result<Case, DatasetError> {
    let (identifier, expected) = (identifier.to_owned(), json.num_channels() - left_out.len());
    if !left_out.is_empty() && files.len() != expected {
        let path = files.first().cloned().unwrap_or_default();
        return Err(DatasetError::BadValue {
            path,
            key: "files of the case".to_owned(),
            found: files.len().to_string(),
            expected: format!("one for each of the {expected} channels that are not left out"),
        });
    }
    Ok(Case { identifier, images: files.to_vec(), absent: left_out.to_vec(), label: None })
}

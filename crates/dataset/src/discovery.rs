//! What a folder of images holds: files that belong to cases by the `_0000` rule, and files that do not.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::DatasetError;
use super::cases::Case;
use super::reader::image_ending;

/// What a folder of images holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The cases, sorted by identifier (by code points, as NumPy sorts).
    pub cases: Vec<Case>,
    /// Files with the right ending whose name has no channel, such as `case.nii.gz`.
    pub without_channel: Vec<PathBuf>,
    /// Links with the right ending to files that do not exist.
    pub broken_links: Vec<PathBuf>,
    /// Files with the right ending whose name is not valid UTF-8: a case cannot be called that.
    pub not_unicode: Vec<PathBuf>,
    /// Files with another ending that an image reader reads, such as `case_0000.nii` beside `.nii.gz`.
    pub other_endings: Vec<PathBuf>,
}

impl Discovery {
    /// What is in `folder` beside the cases, whose files end in `file_ending`, and looks as if it was meant to be one;
    /// `None` if there is nothing.
    pub fn ignored(&self, folder: &Path, file_ending: &str) -> Option<String> {
        const SHOWN: usize = 3;
        let all =
            |files: &[PathBuf], what: &str| (files.iter().map(|p| shown_name(p)).collect(), what.to_owned());
        let mut kinds: Vec<(Vec<String>, String)> = vec![
            all(&self.without_channel, "no channel in the name, expected _0000 before the ending"),
            all(&self.broken_links, "a link to a file that does not exist"),
            all(&self.not_unicode, "a name that is not valid UTF-8"),
        ];
        let mut by_ending: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for path in &self.other_endings {
            by_ending.entry(image_ending(path).unwrap_or_default()).or_default().push(shown_name(path));
        }
        kinds.extend(
            by_ending
                .into_iter()
                .map(|(ending, files)| (files, format!("ending {ending} instead of {file_ending}"))),
        );
        let count: usize = kinds.iter().map(|(files, _)| files.len()).sum();
        if count == 0 {
            return None;
        }
        let described = kinds.into_iter().filter(|(files, _)| !files.is_empty()).map(|(files, what)| {
            let names = files[..files.len().min(SHOWN)].join(", ");
            format!("{names}{} ({what})", if files.len() > SHOWN { ", ..." } else { "" })
        });
        let files = if count == 1 { "1 file is" } else { &format!("{count} files are") };
        Some(format!("{}: {files} not used: {}", folder.display(), described.collect::<Vec<_>>().join("; ")))
    }
}

fn shown_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Sorts the files of a folder into cases: `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ... Subfolders, hidden
/// files and files with another ending do not count.
pub fn discover(folder: &Path, file_ending: &str) -> Result<Discovery, DatasetError> {
    let mut by_identifier: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    let mut found = Discovery::default();
    let Listing { files, broken_links, other_endings } = list(folder, file_ending)?;
    found.broken_links = broken_links;
    found.other_endings = other_endings;
    for path in files {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            found.not_unicode.push(path);
            continue;
        };
        match name.strip_suffix(file_ending).and_then(split_channel) {
            Some((identifier, channel)) => {
                let (identifier, channel) = (identifier.to_owned(), channel.to_owned());
                by_identifier.entry(identifier).or_default().insert(channel, path);
            }
            None => found.without_channel.push(path),
        }
    }
    found.cases = by_identifier
        .into_iter()
        .map(|(identifier, images)| Case {
            identifier,
            images: images.into_values().collect(),
            absent: Vec::new(),
            label: None,
        })
        .collect();
    Ok(found)
}

/// The files of a folder that end in `file_ending`, sorted by name; hidden ones are left out.
pub fn files_with_ending(folder: &Path, file_ending: &str) -> Result<Vec<PathBuf>, DatasetError> {
    Ok(list(folder, file_ending)?.files)
}

/// The entries of a folder with a certain ending, and images with another one, each sorted by name.
pub(crate) struct Listing {
    pub(crate) files: Vec<PathBuf>,
    /// Links to files that do not exist.
    pub(crate) broken_links: Vec<PathBuf>,
    /// Files with another ending that an image reader reads.
    pub(crate) other_endings: Vec<PathBuf>,
}

/// The files of a folder that end in `file_ending`; hidden ones are left out.
pub(crate) fn list(folder: &Path, file_ending: &str) -> Result<Listing, DatasetError> {
    let failed = |source| DatasetError::Io {
        path: folder.to_owned(),
        expected: "a folder that can be listed",
        source,
    };
    let mut found = Listing { files: Vec::new(), broken_links: Vec::new(), other_endings: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") {
            continue;
        }
        if !name.ends_with(file_ending.as_bytes()) {
            if image_ending(&path).is_some() && path.is_file() {
                found.other_endings.push(path);
            }
        } else if path.is_file() {
            found.files.push(path);
        } else if path.is_symlink() && !path.exists() {
            found.broken_links.push(path);
        }
    }
    found.files.sort();
    found.broken_links.sort();
    found.other_endings.sort();
    Ok(found)
}

/// The channel that a file of a case is for: the four digits after the last underscore.
pub fn channel_of(path: &Path, file_ending: &str) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    split_channel(name.strip_suffix(file_ending)?)?.1.parse().ok()
}

/// `CASE_0000` -> (`CASE`, `0000`).
pub(super) fn split_channel(stem: &str) -> Option<(&str, &str)> {
    let (identifier, channel) = stem.rsplit_once('_')?;
    let valid = channel.len() == 4 && channel.bytes().all(|b| b.is_ascii_digit()) && !identifier.is_empty();
    valid.then_some((identifier, channel))
}

/// What is in the folder instead of cases.
pub(super) fn hint(folder: &Path, found: &Discovery) -> String {
    if let Some(example) = found.without_channel.first() {
        let name = shown_name(example);
        return format!(
            "; {name} has no channel in its name: rename it to end in _0000, one number per channel"
        );
    }
    if let Some(example) = found.broken_links.first() {
        return format!("; {} is a link to a file that does not exist", shown_name(example));
    }
    if let Some(example) = found.not_unicode.first() {
        return format!("; the name of {} is not valid UTF-8: rename it", shown_name(example));
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

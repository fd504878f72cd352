//! Where things lie: the three folders of nnU-Net and the datasets in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::DatasetError;
use nnunet_base::hint::Hint;
use nnunet_base::spelling::edit_distance;

/// The three folders. The program fills them in from its options and the environment; each may be
/// missing until it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Datasets as the user made them (`nnUNet_raw`).
    pub raw: Option<PathBuf>,
    /// Fingerprints, plans, preprocessed cases (`nnUNet_preprocessed`).
    pub preprocessed: Option<PathBuf>,
    /// Trained models (`nnUNet_results`).
    pub results: Option<PathBuf>,
}

/// The full name of a dataset, e.g. `Dataset004_Hippocampus`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName {
    name: String,
    id: u32,
}

impl DatasetName {
    /// Checks a name: `Dataset`, an id of at least three digits, then anything (by custom `_Name`).
    pub fn new(name: &str) -> Result<Self, DatasetError> {
        let bad = || DatasetError::BadName { name: name.to_owned() };
        let rest = name.strip_prefix("Dataset").ok_or_else(bad)?;
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if digits.len() < 3 || name.contains(['/', '\\']) {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), id: digits.parse().map_err(|_| bad())? })
    }

    /// The number in the name.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl AsRef<Path> for DatasetName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.name)
    }
}

impl Folders {
    /// The folder of raw datasets.
    pub fn raw(&self) -> Result<&Path, DatasetError> {
        self.needed(&self.raw, "raw datasets", "nnUNet_raw")
    }

    /// The folder of preprocessed datasets.
    pub fn preprocessed(&self) -> Result<&Path, DatasetError> {
        self.needed(&self.preprocessed, "preprocessed datasets", "nnUNet_preprocessed")
    }

    /// The folder of trained models.
    pub fn results(&self) -> Result<&Path, DatasetError> {
        self.needed(&self.results, "trained models", "nnUNet_results")
    }

    /// Finds a dataset by id (`4`, `004`) or full name in whichever of the three folders it is.
    ///
    /// # Errors
    /// Not found (with what was searched, what is there and what may have been meant), or several
    /// datasets of that id.
    pub fn find(&self, asked: &str) -> Result<DatasetName, DatasetError> {
        let asked = asked.trim();
        let present = self.datasets();
        if let Ok(id) = asked.parse::<u32>() {
            let mut candidates = present.keys().filter(|name| name.id == id);
            return match (candidates.next(), candidates.next()) {
                (Some(name), None) => Ok(name.clone()),
                (Some(_), Some(_)) => {
                    Err(DatasetError::DuplicateId { id, names: self.datasets_of_id(id).join("; ") })
                }
                (None, _) => Err(self.not_found(asked, &present)),
            };
        }
        match present.keys().find(|name| name.name == asked) {
            Some(name) => Ok(name.clone()),
            None => Err(self.not_found(asked, &present)),
        }
    }

    /// The datasets of an id, each with the folders that hold it, for messages.
    pub fn datasets_of_id(&self, id: u32) -> Vec<String> {
        let present = self.datasets().into_iter().filter(|(name, _)| name.id == id);
        present
            .map(|(name, places)| {
                let places: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
                format!("{name} (in {})", places.join(", "))
            })
            .collect()
    }

    /// All datasets, each with the folders that hold it.
    pub fn datasets(&self) -> BTreeMap<DatasetName, BTreeSet<&Path>> {
        let mut found: BTreeMap<DatasetName, BTreeSet<&Path>> = BTreeMap::new();
        for folder in [&self.raw, &self.preprocessed, &self.results].into_iter().flatten() {
            // A folder that cannot be listed has no datasets; `not_found` says so.
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir()
                    && let Ok(name) = DatasetName::new(&entry.file_name().to_string_lossy())
                {
                    found.entry(name).or_default().insert(folder);
                }
            }
        }
        found
    }

    fn all(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("nnUNet_raw", &self.raw),
            ("nnUNet_preprocessed", &self.preprocessed),
            ("nnUNet_results", &self.results),
        ]
    }

    fn needed<'a>(
        &self,
        folder: &'a Option<PathBuf>,
        what: &'static str,
        name: &'static str,
    ) -> Result<&'a Path, DatasetError> {
        folder.as_deref().ok_or_else(|| {
            let state = self.all().map(|(name, folder)| match folder {
                Some(path) => format!("{name} = {}", path.display()),
                None => format!("{name} not set"),
            });
            DatasetError::FolderNotSet {
                what,
                state: state.join(", "),
                hint: Hint::SetFolder { content: what, name },
            }
        })
    }

    /// What to say of folders that look as if they were meant to be datasets; nothing if there are none.
    fn misnamed(&self) -> String {
        const SHOWN: usize = 5;
        let mut found = BTreeSet::new();
        for folder in self.all().into_iter().filter_map(|(_, folder)| folder.as_ref()) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() && DatasetName::new(&name).is_err() {
                    found.extend(repaired_name(&name).map(|better| (name, better)));
                }
            }
        }
        if found.is_empty() {
            return String::new();
        }
        let renamed: Vec<String> =
            found.iter().take(SHOWN).map(|(name, better)| format!("{name} to {better}")).collect();
        let more = if found.len() > SHOWN { ", ..." } else { "" };
        format!(
            "\nnot datasets because of their names (expected \"Dataset\", an id of at least three digits, \"_\" and a \
             name): rename {}{more}",
            renamed.join(", ")
        )
    }

    fn not_found(&self, asked: &str, present: &BTreeMap<DatasetName, BTreeSet<&Path>>) -> DatasetError {
        const SHOWN: usize = 30;
        let searched = self.all().map(|(name, folder)| match folder {
            None => format!("{name} (not set)"),
            Some(path) => match std::fs::read_dir(path) {
                Ok(_) => format!("{name} = {}", path.display()),
                Err(error) => format!("{name} = {} ({error})", path.display()),
            },
        });
        let names: Vec<&str> = present.keys().map(DatasetName::as_str).collect();
        let suggestion =
            nearest(asked, present.keys()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        let mut shown = if names.is_empty() {
            "no datasets".to_owned()
        } else {
            names[..names.len().min(SHOWN)].join(", ")
        };
        if names.len() > SHOWN {
            shown.push_str(&format!(" and {} more", names.len() - SHOWN));
        }
        shown.push_str(&self.misnamed());
        DatasetError::NotFound {
            asked: asked.to_owned(),
            suggestion,
            searched: searched.join(", "),
            present: shown,
        }
    }
}

/// The name that a folder needs to be a dataset, if it only misses the form: `Dataset5_X`, `dataset005_X`,
/// `Dataset_005_X` and `Task005_X` are meant to be `Dataset005_X`.
fn repaired_name(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let start = ["dataset", "task"].into_iter().find(|start| lower.starts_with(start))?;
    let rest = name[start.len()..].trim_start_matches(['_', '-', ' ']);
    let (digits, title) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let id: u32 = digits.parse().ok()?;
    let title = title.trim_start_matches(['_', '-', ' ']);
    let title = if title.is_empty() { "Name" } else { title };
    Some(format!("Dataset{id:03}_{title}"))
}

/// The dataset that is most like what was typed, if any is like it at all: part of the name, or few
/// letters away from it, or an id of which one digit differs.
fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a DatasetName>) -> Option<&'a DatasetName> {
    let lower = asked.to_lowercase();
    names
        .filter_map(|name| {
            let full = name.name.to_lowercase();
            let short = full.split_once('_').map_or("", |(_, short)| short);
            let distance = match lower.parse::<u32>() {
                Ok(id) => edit_distance(&id.to_string(), &name.id.to_string()),
                Err(_) if lower.len() > 2 && full.contains(&lower) => 0,
                Err(_) => edit_distance(&lower, &full).min(edit_distance(&lower, short)),
            };
            let limit = if lower.parse::<u32>().is_ok() { 1 } else { 1 + lower.chars().count() / 4 };
            (distance <= limit).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;

    fn folders() -> (tempfile::TempDir, Folders) {
        let root = tempfile::tempdir().unwrap();
        for folder in [
            "raw/Dataset004_Hippocampus",
            "raw/Dataset1000_Big",
            "raw/Dataset100_Small",
            "raw/Dataset005_Prostate",
            "pre/Dataset005_Prostate2",
            "pre/Dataset004_Hippocampus",
            "raw/notes",
        ] {
            create_dir_all(root.path().join(folder)).unwrap();
        }
        let folders = Folders {
            raw: Some(root.path().join("raw")),
            preprocessed: Some(root.path().join("pre")),
            results: None,
        };
        (root, folders)
    }

    #[test]
    fn finds_by_id_and_name() {
        let (_root, folders) = folders();
        for asked in ["4", "004", "Dataset004_Hippocampus"] {
            assert_eq!(folders.find(asked).unwrap().as_str(), "Dataset004_Hippocampus");
        }
        assert_eq!(folders.find("100").unwrap().as_str(), "Dataset100_Small");
        assert_eq!(folders.find("1000").unwrap().id(), 1000);
    }

    #[test]
    fn duplicate_ids_are_an_error_that_names_both() {
        let (_root, folders) = folders();
        let message = folders.find("5").unwrap_err().to_string();
        assert!(
            message.contains("Dataset005_Prostate (in ") && message.contains("Dataset005_Prostate2 (in "),
            "{message}"
        );
        assert_eq!(folders.find("Dataset005_Prostate").unwrap().id(), 5);
    }

    #[test]
    fn not_found_says_what_was_searched_what_is_there_and_what_may_be_meant() {
        let (root, mut folders) = folders();
        let message = folders.find("Dataset004_Hipocampus").unwrap_err().to_string();
        assert!(message.contains("did you mean Dataset004_Hippocampus?"), "{message}");
        assert!(
            message.contains("nnUNet_results (not set)") && message.contains("Dataset1000_Big"),
            "{message}"
        );
        assert!(
            folders.find("hippocampus").unwrap_err().to_string().contains("did you mean Dataset004"),
            "part of the name"
        );
        assert!(
            folders.find("14").unwrap_err().to_string().contains("did you mean Dataset004"),
            "one digit too many"
        );
        let message = folders.find("777").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
        folders.raw = Some(root.path().join("nowhere"));
        folders.preprocessed = None;
        let message = folders.find("4").unwrap_err().to_string();
        assert!(message.contains("No such file") && message.contains("found: no datasets"), "{message}");
    }

    #[test]
    fn folders_that_miss_the_form_of_a_dataset_are_named() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["Dataset5_X", "dataset_006_Y", "Task007_Z", "Dataset8", "DatasetX", "notes"] {
            create_dir_all(root.path().join(folder)).unwrap();
        }
        let folders = Folders { raw: Some(root.path().to_owned()), ..Folders::default() };
        for asked in ["5", "Dataset5_X"] {
            let message = folders.find(asked).unwrap_err().to_string();
            assert!(message.contains("found: no datasets"), "{message}");
            for words in [
                "at least three digits",
                "Dataset5_X to Dataset005_X",
                "dataset_006_Y to Dataset006_Y",
                "Task007_Z to Dataset007_Z",
                "Dataset8 to Dataset008_Name",
            ] {
                assert!(message.contains(words), "{words:?} in {message}");
            }
            assert!(!message.contains("DatasetX") && !message.contains("notes"), "{message}");
        }
    }

    #[test]
    fn a_missing_folder_is_an_error_where_it_is_needed() {
        let folders = Folders { raw: Some("/data/raw".into()), ..Folders::default() };
        assert!(folders.raw().is_ok());
        let error = folders.results().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the folder of trained models is not set (the three folders now: nnUNet_raw = /data/raw, \
             nnUNet_preprocessed not set, nnUNet_results not set)"
        );
        let hint = Hint::SetFolder { content: "trained models", name: "nnUNet_results" };
        assert_eq!(Hint::of(&error), Some(&hint));
    }

    #[test]
    fn names_are_checked() {
        for bad in ["Dataset4_X", "Task004_X", "Dataset", "Dataset004_../x", "Dataset99999999999_x"] {
            assert!(DatasetName::new(bad).is_err(), "{bad}");
        }
    }
}

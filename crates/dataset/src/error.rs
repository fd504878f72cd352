//! What can be wrong with a dataset as a whole. Faults of single cases are in `verify`.

use std::path::PathBuf;

use nnunet_base::hint::Hint;
use nnunet_pyformats::json::JsonError;

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// One of the three folders is needed and was not given.
    #[error("the folder of {what} is not set (the three folders now: {state})")]
    FolderNotSet {
        /// What lies in it.
        what: &'static str,
        /// All three folders and their values.
        state: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// No dataset of that id or name in any of the folders.
    #[error("dataset {asked:?} not found{suggestion}\nsearched: {searched}\nfound: {present}")]
    NotFound {
        /// What was asked for.
        asked: String,
        /// `; did you mean ...?` or empty.
        suggestion: String,
        /// The folders looked into.
        searched: String,
        /// The datasets that are there.
        present: String,
    },
    /// Several datasets have the id.
    #[error(
        "dataset id {id} is not unique: {names}. Ids must be unique over all three folders: rename all but \
         one, or give the full name instead of the id"
    )]
    DuplicateId {
        /// The id.
        id: u32,
        /// Each name with the folders that hold it.
        names: String,
    },
    /// The text is no name of a dataset.
    #[error(
        "{name:?} is not a dataset name: expected \"Dataset\", an id of at least three digits, \"_\" and a name, \
         as in Dataset004_Hippocampus"
    )]
    BadName {
        /// The text.
        name: String,
    },
    /// A path that should be a folder of predictions.
    #[error(
        "{path}: {problem}; expected a folder of segmentations with their dataset.json",
        path = path.display()
    )]
    NoPredictions {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A JSON file cannot be read, parsed or written.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// dataset.json is one of nnU-Net v1.
    #[error(
        "{path}: this is a dataset.json of nnU-Net v1 ({evidence}); expected \"channel_names\" instead of \"modality\", \
         labels the other way round ({{\"background\": 0, ...}}) and \"file_ending\"",
        path = path.display()
    )]
    Version1 {
        /// The file.
        path: PathBuf,
        /// The key that shows it.
        evidence: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A key of dataset.json is missing.
    #[error("{path}: key {key:?} is missing; expected {expected}. Present: {present}", path = path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What belongs there.
        expected: &'static str,
        /// The keys that are there.
        present: String,
    },
    /// A key of a JSON file has a value of the wrong kind.
    #[error("{path}: {key}: found {found}, expected {expected}", path = path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key, as a path.
        key: String,
        /// What is there.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A channel that the dataset does not have.
    #[error("{path}: no channel {found:?}{suggestion}; its channels: {known}", path = path.display())]
    UnknownChannel {
        /// The dataset.json.
        path: PathBuf,
        /// What was asked for.
        found: String,
        /// ` (did you mean ...?)` or empty.
        suggestion: String,
        /// The channels.
        known: String,
    },
    /// Nothing would be left of a case.
    #[error("all channels of the dataset are to be left out ({names}); expected at least one that stays")]
    NoChannelLeft {
        /// The channels.
        names: String,
    },
    /// Cases lack files of channels that they must have.
    #[error(
        "{path}: {count} cases lack a file that they must have: {cases}. Channels that may be missing: {optional}",
        path = path.display()
    )]
    RequiredChannels {
        /// The folder or file.
        path: PathBuf,
        /// How many cases.
        count: usize,
        /// The first of them, each with its channels.
        cases: String,
        /// The optional channels.
        optional: String,
    },
    /// A part of the cases that is none.
    #[error("part {number} of {of}: parts count from 0")]
    Part {
        /// The part asked for.
        number: usize,
        /// Number of parts.
        of: usize,
    },
    /// The labels of dataset.json contradict each other or the rules.
    #[error("labels of dataset.json: {0}")]
    Labels(String),
    /// A folder cannot be listed or a file cannot be looked at.
    #[error("{path}: {source}; expected {expected}", path = path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What was to be there.
        expected: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no case where there must be one.
    #[error("{path}: no cases; expected files named CASE_0000{file_ending}{hint}", path = path.display())]
    NoCases {
        /// The folder.
        path: PathBuf,
        /// The file ending looked for.
        file_ending: String,
        /// `; found ... instead` or empty.
        hint: String,
    },
    /// The patients of the cases.
    #[error("{path}: patients: {problem}", path = path.display())]
    Patients {
        /// The file that names them.
        path: PathBuf,
        /// All that is wrong.
        problem: String,
    },
    /// A splits file that cannot be trained with.
    #[error("{path}: {problem}", path = path.display())]
    Splits {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        problem: String,
    },
}

//! What can go wrong with a conversion.

use std::path::{Path, PathBuf};

use nnunet_volume::VolumeError;

use crate::DatasetError;
use nnunet_base::hint::Hint;
use nnunet_base::progress::Interrupted;
use nnunet_pyformats::json::JsonError;

/// Why a dataset was not converted. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// dataset.json, the target's name or the folder of raw datasets.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// dataset.json cannot be read or written.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// An image cannot be read or written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A file or folder cannot be read, copied or made.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The source lacks folders or its dataset.json.
    #[error(
        "{folder}: {missing} missing; give the folder of the task, the one with dataset.json, imagesTr and labelsTr",
        folder = folder.display()
    )]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// What is not there.
        missing: String,
    },
    /// The folder of a task of the Medical Segmentation Decathlon has another name.
    #[error("{folder}: the folder must be named like Task05_Prostate, the number and the name come from there", folder = folder.display())]
    TaskName {
        /// The folder.
        folder: PathBuf,
    },
    /// The id belongs to another dataset.
    #[error("dataset id {id} is taken by {names}")]
    IdTaken {
        /// The id.
        id: u32,
        /// Datasets of that id, with the folders that hold them.
        names: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The target is there already.
    #[error("{target}: exists already and stays as it is; remove it or choose another name", target = target.display())]
    Exists {
        /// The folder.
        target: PathBuf,
    },
    /// A dataset that cannot become part of another one.
    #[error("{path}: {problem}", path = path.display())]
    Merge {
        /// Its dataset.json, or one of its files.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No datasets, or none with labels.
    #[error("nothing to merge: expected at least one dataset with a label besides the background")]
    NothingToMerge,
    /// Some files could not be converted; all of them are named.
    #[error("{} of {total} files could not be converted, no dataset was made:\n{}", .faults.len(), .faults.join("\n"))]
    Files {
        /// One line per file.
        faults: Vec<String>,
        /// Number of files.
        total: usize,
    },
    /// The user asked to stop.
    #[error("interrupted; no dataset was made")]
    Interrupted(#[from] Interrupted),
}

impl ConvertError {
    pub(super) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

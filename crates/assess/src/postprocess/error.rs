//! What can go wrong with postprocessing.

use std::path::{Path, PathBuf};

use nnunet_pyformats::pickle::PickleFileError;

use crate::evaluate::EvaluateError;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;
use nnunet_pyformats::json::JsonError;

/// Why a postprocessing cannot be determined, read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostprocessError {
    /// dataset.json, labels or folders.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Segmentations cannot be compared with the references.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// postprocessing.json cannot be read or written.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// postprocessing.pkl cannot be read or written.
    #[error(transparent)]
    Pickle(#[from] PickleFileError),
    /// The file is read but holds no postprocessing.
    #[error(
        "{path}: {problem}; expected a postprocessing.pkl or postprocessing.json that determine-postprocessing or \
         find-best-configuration wrote",
        path = path.display()
    )]
    NoPostprocessing {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Some cases failed; all of them are named, the others are done.
    #[error("{} of {total} segmentations failed:\n{}", .faults.len(), .faults.join("\n"))]
    Cases {
        /// One line for each.
        faults: Vec<String>,
        /// How many there were.
        total: usize,
    },
    /// The user asked to stop.
    #[error("interrupted before all segmentations were done")]
    Interrupted(#[from] Interrupted),
}

impl PostprocessError {
    /// Says at which path the system failed.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

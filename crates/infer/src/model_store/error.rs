//! What can go wrong with packed and installed models.

use std::path::{Path, PathBuf};

use nnunet_base::hint::Hint;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;

/// Why a model cannot be packed, installed or listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A configuration to export was not trained.
    #[error(
        "{folder}: no such model; found: {there}",
        folder = folder.display()
    )]
    NoModel {
        /// Where it should be.
        folder: PathBuf,
        /// What is there instead.
        there: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A file of a model to export is missing.
    #[error("{path}: no such file; a model cannot predict without it", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint to export is missing.
    #[error("{path}: no such checkpoint", path = path.display())]
    MissingCheckpoint {
        /// The file.
        path: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// There is nothing to export.
    #[error("{folder}: none of the configurations asked for was trained", folder = folder.display())]
    Nothing {
        /// The folder of the dataset's models.
        folder: PathBuf,
    },
    /// The file is no archive of a model.
    #[error(
        "{path}: {problem}; expected an archive of exported models (as of nnUNetv2_export_model_to_zip), with \
         DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/plans.json and so on",
        path = path.display()
    )]
    NotAModel {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something in the archive is meant to harm.
    #[error("{path}: refused, nothing was installed: {problem}", path = path.display())]
    Hostile {
        /// The archive.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// Models of the archive are installed already.
    #[error(
        "nothing was installed: {models} would be overwritten in {results}",
        results = results.display()
    )]
    Exists {
        /// The models.
        models: String,
        /// The folder of installed models.
        results: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The results folder.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The user asked to stop.
    #[error("interrupted; nothing was changed")]
    Interrupted(#[from] Interrupted),
}

impl StoreError {
    /// Says at which path the system failed.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

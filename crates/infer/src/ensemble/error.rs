//! What can go wrong with an ensemble.

use std::path::PathBuf;

use nnunet_base::hint::Hint;
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;

/// Why predictions cannot be averaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// dataset.json, labels or folders.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A folder has no probabilities.
    #[error(
        "{folder}: no .npz files; ensembles average probabilities",
        folder = folder.display()
    )]
    NoProbabilities {
        /// The folder.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The folders have different cases.
    #[error(
        "{folder}: {count} of {total} cases are missing: {names}. All folders of an ensemble must have the same \
         cases",
        folder = folder.display()
    )]
    MissingCases {
        /// The folder.
        folder: PathBuf,
        /// How many are missing.
        count: usize,
        /// How many there should be.
        total: usize,
        /// The first of them.
        names: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A folder or file cannot be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A case does not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// Some cases failed; all of them are named, the others are done.
    #[error("{} of {total} cases failed:\n{}", .faults.len(), .faults.join("\n"))]
    Cases {
        /// One line for each.
        faults: Vec<String>,
        /// How many there were.
        total: usize,
    },
    /// The user asked to stop.
    #[error("interrupted before all cases were done")]
    Interrupted(#[from] Interrupted),
}

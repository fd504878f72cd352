//! What can go wrong with an evaluation.

use std::path::PathBuf;

use nnunet_base::hint::Hint;
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;
use nnunet_pyformats::json::JsonError;

/// Why segmentations cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// dataset.json, labels or folders.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A JSON file cannot be read or written.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// There is nothing to evaluate.
    #[error("{path}: no segmentations ending in {file_ending}", path = path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
        /// The ending.
        file_ending: String,
    },
    /// No class is asked for.
    #[error("no labels to evaluate")]
    NoClasses,
    /// Reference segmentations without a prediction.
    #[error(
        "{path}: {count} of {total} reference segmentations have no prediction: {names}",
        path = path.display()
    )]
    MissingPredictions {
        /// The folder of predictions.
        path: PathBuf,
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
    /// A case does not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// Some cases cannot be evaluated; all of them are named.
    #[error("{} cases cannot be evaluated:\n{}", .0.len(), .0.join("\n"))]
    Cases(Vec<String>),
    /// A file that is no summary.json.
    #[error("{path}: not a summary of an evaluation (mean, foreground_mean, metric_per_case)", path = path.display())]
    NoSummary {
        /// The file.
        path: PathBuf,
    },
    /// The user asked to stop.
    #[error("interrupted before all cases were evaluated; nothing was written")]
    Interrupted(#[from] Interrupted),
}

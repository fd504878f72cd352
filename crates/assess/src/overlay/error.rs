//! What can go wrong when overlays are drawn.

use std::path::PathBuf;

use nnunet_base::progress::Interrupted;
use nnunet_data::preprocess::PreprocessError;
use nnunet_dataset::DatasetError;

/// Why overlays cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// dataset.json, or the cases of a raw dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The folder of preprocessed cases.
    #[error("{source}; preprocess the dataset for this configuration first")]
    Preprocessed {
        /// What is wrong.
        source: PreprocessError,
    },
    /// A folder without cases.
    #[error("{folder}: no preprocessed cases; preprocess the dataset for this configuration first", folder = folder.display())]
    NoCases {
        /// The folder.
        folder: PathBuf,
    },
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

//! Why a report cannot be made.

use std::io;
use std::path::PathBuf;

use nnunet_assess::evaluate::EvaluateError;
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::DatasetError;
use nnunet_train::TrainError;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// dataset.json, or the cases of a dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// summary.json.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The checkpoint of a training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A case that is too large for this machine.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// A folder that holds no training.
    #[error(
        "{folder}: found neither a checkpoint nor folders fold_0, fold_1, ..., expected the folder of a trained model or of one of \
         its folds. Give RESULTS/DATASET/TRAINER__PLANS__CONFIGURATION",
        folder = folder.display()
    )]
    NoTraining {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder that cannot be listed, or a table in it that cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the report.
    #[error("{path}: this file cannot be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The user asked to stop.
    #[error("interrupted before the report was written")]
    Interrupted(#[from] Interrupted),
}

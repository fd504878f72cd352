//! What can go wrong with the choice of a model.

use std::path::{Path, PathBuf};

use nnunet_assess::evaluate::EvaluateError;
use nnunet_assess::postprocess::PostprocessError;
use nnunet_base::hint::Hint;
use nnunet_data::plan::PlanError;
use nnunet_dataset::DatasetError;
use nnunet_infer::ensemble::EnsembleError;
use nnunet_pyformats::json::JsonError;

/// Why a cross-validation cannot be put together or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A model was not trained.
    #[error(
        "{folder}: no such model",
        folder = folder.display()
    )]
    NoModel {
        /// Where it should be.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// No model is left to choose from.
    #[error("none of the configurations {asked} is in the plans {plans}: there is nothing to choose from")]
    NoCandidates {
        /// Configurations asked for.
        asked: String,
        /// Plans looked into.
        plans: String,
    },
    /// A fold was not trained or not validated.
    #[error(
        "{folder}: no predictions of the validation cases",
        folder = folder.display()
    )]
    NoValidation {
        /// The folder of the validation.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// Two folds predicted one case.
    #[error(
        "{folder}: case {case} is predicted by several folds. The folds were trained with different \
         splits",
        folder = folder.display()
    )]
    SeveralFolds {
        /// The model.
        folder: PathBuf,
        /// The case.
        case: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// Ensembles need probabilities.
    #[error(
        "{folder}: no probabilities (.npz), which ensembles are made of",
        folder = folder.display()
    )]
    NoProbabilities {
        /// The folder of the validation.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// There is nothing to compare the predictions with.
    #[error("no reference segmentations: neither {preprocessed} nor {raw} is a folder")]
    NoReferences {
        /// Folder looked for among the preprocessed datasets.
        preprocessed: String,
        /// Folder looked for among the raw datasets.
        raw: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// Nothing was chosen yet.
    #[error("{path}: no such file, which says what is best", path = path.display())]
    NoChoice {
        /// Where the choice would be.
        path: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The record of the choice is another document.
    #[error(
        "{path}: this does not say which models were chosen",
        path = path.display()
    )]
    NoInformation {
        /// The file.
        path: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The folder for the results has something in it.
    #[error("{folder}: the folder is not empty", folder = folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
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
    /// dataset.json, labels or folders.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// plans.json.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A JSON file.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Evaluation.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Ensembles.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// Postprocessing.
    #[error(transparent)]
    Postprocess(#[from] PostprocessError),
}

impl SelectError {
    /// Says at which path the system failed.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

//! Why a prediction failed.

use std::path::PathBuf;

use nnunet_checkpoint::CheckpointError;
use nnunet_graph::NetworkError;
use nnunet_recipe::{NetworkOverrideError, RecipeError};
use nnunet_volume::VolumeError;

use super::export::ExportError;
use super::sliding_window::SlidingWindowError;
use nnunet_base::hint::Hint;
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::one_case::Panicked;
use nnunet_base::progress::Interrupted;
use nnunet_data::plan::PlanError;
use nnunet_data::preprocess::PreprocessError;
use nnunet_dataset::DatasetError;
use nnunet_pyformats::json::JsonError;

/// Errors of the prediction stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The folder of the model does not exist, or is none.
    #[error(
        "{path}: no model folder; {there}. A model folder is named TRAINER__PLANS__CONFIGURATION and has plans.json, \
         dataset.json and fold_X/checkpoint_final.pth",
        path = path.display()
    )]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// Which models there are.
        there: String,
    },
    /// A fold's folder or checkpoint instead of the model's folder.
    #[error(
        "{path}: this is a part of the model {model}",
        path = path.display(), model = model.display()
    )]
    PartOfModel {
        /// The folder or file.
        path: PathBuf,
        /// The model's folder.
        model: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// No fold has the checkpoint.
    #[error(
        "{path}: no fold_X/{checkpoint}; found: {there}",
        path = path.display()
    )]
    NoFolds {
        /// The model folder.
        path: PathBuf,
        /// Name of the checkpoint.
        checkpoint: String,
        /// What is there.
        there: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A fold lacks the checkpoint.
    #[error("{path}: no such checkpoint; found: {there}", path = path.display())]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is there.
        there: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The weights of a checkpoint are not those of the network that the plans and the recipe describe.
    #[error("{path}: the weights do not fit the network of plans.json{remark}: {source}", path = path.display())]
    Weights {
        /// The checkpoint.
        path: PathBuf,
        /// What may be the reason; empty or `(...)`.
        remark: String,
        /// Which tensors.
        source: NetworkError,
    },
    /// The recipe that a checkpoint was trained by cannot be read.
    #[error("{path}: the recipe in the checkpoint: {source}", path = path.display())]
    Recipe {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: RecipeError,
    },
    /// The recipe changes the network in a way that does not fit the plans.
    #[error("{path}: {source}", path = path.display())]
    NetworkOverride {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        source: NetworkOverrideError,
    },
    /// The weights of the model have gone to another predictor.
    #[error("the model has no weights; load it again from its folder")]
    NoWeights,
    /// A cascade without the segmentations of its first stage.
    #[error("configuration {configuration} needs the segmentations of {previous} as input")]
    NoPreviousStage {
        /// The configuration.
        configuration: String,
        /// The configuration of the first stage.
        previous: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// Segmentations of a previous stage for a configuration that has none.
    #[error(
        "configuration {configuration} takes no segmentations of a previous stage, found {folder}", folder = folder.display()
    )]
    NotACascade {
        /// The configuration.
        configuration: String,
        /// The folder given.
        folder: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// Cases have no prediction of the previous stage.
    #[error(
        "{folder}: the previous stage's segmentation is missing for {missing} cases ({names}); expected CASE{ending} \
         for each of the cases to predict", folder = folder.display()
    )]
    PreviousStageCases {
        /// Where they are looked for.
        folder: PathBuf,
        /// File ending of the dataset.
        ending: String,
        /// Number of cases.
        missing: usize,
        /// Some of them.
        names: String,
    },
    /// The dataset or its cases.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The work on a case has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// Preprocessing of a case.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The sliding window.
    #[error(transparent)]
    Window(SlidingWindowError),
    /// The way back to the original grid.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// An image file.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// One of the JSON files beside the predictions.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A file or folder of the output.
    #[error("{path}: {source}; predictions are written there", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Cases do not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// Some cases failed, the others are done.
    #[error("{} of {total} cases failed:\n{}", faults.len(), faults.join("\n"))]
    Cases {
        /// One line per failed case.
        faults: Vec<String>,
        /// Number of cases.
        total: usize,
        /// What to do about one of them, if it is known.
        #[source]
        hint: Option<Hint>,
    },
    /// The user asked to stop.
    #[error("interrupted; predictions that are complete stay")]
    Interrupted(#[from] Interrupted),
}

impl PredictError {
    /// The same error with the files of the case, where it is about the case's images as a whole.
    pub(super) fn naming(self, images: &[PathBuf]) -> Self {
        match self {
            Self::Preprocess(error) => Self::Preprocess(error.naming(images)),
            other => other,
        }
    }
}

impl From<SlidingWindowError> for PredictError {
    fn from(error: SlidingWindowError) -> Self {
        match error {
            SlidingWindowError::Interrupted(source) => Self::Interrupted(source),
            SlidingWindowError::Export(error) => Self::Export(error),
            other => Self::Window(other),
        }
    }
}

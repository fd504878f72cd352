//! Why a training ended early.

use std::path::{Path, PathBuf};

use nnunet_checkpoint::CheckpointError;
use nnunet_graph::NetworkError;
use nnunet_graph::backend::StepError;

use super::batch::BatchError;
use super::hook::HookError;
use super::loader::LoaderError;
use nnunet_assess::evaluate::EvaluateError;
use nnunet_augment::AugmentError;
use nnunet_base::hint::Hint;
use nnunet_base::lock::{FolderInUse, LockError};
use nnunet_base::memory::MemoryLimitError;
use nnunet_base::parts::{OptionError, UnknownName};
use nnunet_base::progress::Interrupted;
use nnunet_data::plan::PlanError;
use nnunet_data::preprocess::PreprocessError;
use nnunet_dataset::DatasetError;
use nnunet_infer::predict::PredictError;
use nnunet_recipe::{NetworkOverrideError, RecipeError};

/// Errors of the training stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A part that the recipe names is not known.
    #[error("recipe: {0}")]
    Part(#[from] UnknownName),
    /// A part does not have an option that the recipe gives it.
    #[error("recipe: {0}")]
    Option(#[from] OptionError),
    /// The recipe weighs another number of outputs than the network has.
    #[error(
        "recipe: deep_supervision_weights {found:?}, expected {outputs} numbers of at least 0, one for each output of the \
         network, full resolution first"
    )]
    DeepSupervisionWeights {
        /// The weights.
        found: Vec<f64>,
        /// Outputs of the network.
        outputs: usize,
    },
    /// The recipe changes the network in a way that does not fit the plans.
    #[error(transparent)]
    NetworkOverride(#[from] NetworkOverrideError),
    /// The recipe in a checkpoint cannot be read.
    #[error("{path}: the recipe in the checkpoint: {source}", path = path.display())]
    Recipe {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: RecipeError,
    },
    /// A checkpoint without the curves of its training.
    #[error(
        "{path}: the curves of the training (logging) are missing or incomplete, expected a list with a value per epoch for each. Is \
         the checkpoint of a training?",
        path = path.display()
    )]
    NoCurves {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A checkpoint to go on from is of a training with other settings.
    #[error(
        "{path}: the training to continue has other settings: {}; continue with the same ones, or start a new training or one under \
         another name",
        differences.join("; "),
        path = path.display()
    )]
    OtherTraining {
        /// The checkpoint.
        path: PathBuf,
        /// Each setting with its value in the checkpoint and now.
        differences: Vec<String>,
    },
    /// The dataset, its splits or its labels.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Preprocessed cases.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The augmentation cannot be made for this configuration.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// A batch could not be made.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The loader.
    #[error(transparent)]
    Loader(LoaderError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A step of learning or validation.
    #[error("epoch {epoch}, iteration {iteration}: {source}{}", advice(source, causes))]
    Step {
        /// Epoch, from 0.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// Where in the batch it comes from, if its numbers are the reason: a phrase for each sample.
        causes: Vec<String>,
        /// What happened.
        source: StepError,
    },
    /// A hook ended the training.
    #[error("epoch {epoch}, iteration {iteration}: {source}")]
    Hook {
        /// Epoch, from 0.
        epoch: usize,
        /// Iteration of the epoch, from 0.
        iteration: usize,
        /// What the hook says.
        source: HookError,
    },
    /// A benchmark of another fold than the first.
    #[error("fold {found}: benchmarks are trained on fold 0 only, where their results are looked for")]
    BenchmarkFold {
        /// The fold.
        found: String,
    },
    /// A group of parameters that this network does not have, or that cannot learn at this rate.
    #[error("group of parameters: {problem}")]
    ParameterGroup {
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// There is no epoch left.
    #[error("all {epochs} epochs are done: finish the training, or train with more epochs")]
    Complete {
        /// Number of epochs.
        epochs: usize,
    },
    /// A training was to be finished before its end.
    #[error("{done} of {epochs} epochs are done: train the others before the training is finished")]
    Incomplete {
        /// Epochs that are done.
        done: usize,
        /// Number of epochs.
        epochs: usize,
    },
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The state could not be saved.
    #[error("{source}; {}", saved_before(kept.as_deref()))]
    NotSaved {
        /// What happened.
        source: Box<CheckpointError>,
        /// The checkpoint that was saved before and is unharmed.
        kept: Option<PathBuf>,
    },
    /// A record of a running training could not be written.
    #[error("{path}: {source}; {}", saved_before(kept.as_deref()), path = path.display())]
    NotRecorded {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// The checkpoint to go on from.
        kept: Option<PathBuf>,
    },
    /// A checkpoint lacks what is needed to go on.
    #[error("{path}: {problem}", path = path.display())]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What is missing or wrong, and what to do.
        problem: String,
    },
    /// The final validation could not predict some cases; the others are done.
    #[error("{} of {total} validation cases failed:\n{}", faults.len(), faults.join("\n"))]
    Validation {
        /// One line for each failed case, with its name.
        faults: Vec<String>,
        /// Number of cases.
        total: usize,
        /// What to do about one of them, if it is known.
        #[source]
        hint: Option<Hint>,
    },
    /// The final validation could not predict at all.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// The final validation could not be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Weights to start with that are those of another network.
    #[error("{path}: nothing in it fits the network of these plans: {source}", path = path.display())]
    Pretrained {
        /// The checkpoint.
        path: PathBuf,
        /// Which tensors.
        source: Box<NetworkError>,
    },
    /// A cascade lacks segmentations of its previous stage.
    #[error(
        "{folder}: {configuration} needs the segmentations of {previous} for every case; missing: {missing}",
        folder = folder.display()
    )]
    PreviousStage {
        /// Where they are looked for.
        folder: PathBuf,
        /// The configuration to be trained.
        configuration: String,
        /// The configuration that makes them.
        previous: String,
        /// The cases without, the first of them by name.
        missing: String,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// A file or folder of the results.
    #[error("{path}: {source}; the training needs to write there", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A training step does not fit into the memory that may be used.
    #[error(transparent)]
    Memory(#[from] MemoryLimitError),
    /// Another run works in a folder that this one needs.
    #[error(transparent)]
    InUse(#[from] FolderInUse),
    /// A checkpoint that is asked for does not exist.
    #[error("{path}: no such checkpoint; validation needs it", path = path.display())]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
        /// What to do.
        #[source]
        hint: Hint,
    },
    /// The user asked to stop.
    #[error("{}", interrupted(path.as_deref()))]
    Interrupted {
        /// The checkpoint with the state, if one was written.
        path: Option<PathBuf>,
        /// Why.
        source: Interrupted,
    },
    /// The user asked to stop in the final validation.
    #[error(
        "interrupted in the final validation; {}",
        if *checkpoint { "the trained model is saved" } else { "no checkpoint was written to do it again with" }
    )]
    ValidationInterrupted {
        /// Whether there is a checkpoint to do it again with.
        checkpoint: bool,
        /// Why.
        source: Interrupted,
    },
}

/// What to look at when a step fails because of its numbers.
fn advice(error: &StepError, causes: &[String]) -> String {
    match error {
        StepError::NotFinite { .. } => {
            format!(": {}; look for extreme intensities there, or lower the learning rate", causes.join("; "))
        }
        StepError::Network(_) | StepError::Loss(_) => String::new(),
    }
}

fn saved_before(kept: Option<&Path>) -> String {
    match kept {
        Some(path) => format!("what was saved before is unharmed in {}", path.display()),
        None => "nothing of this training is saved".to_owned(),
    }
}

fn interrupted(path: Option<&Path>) -> String {
    match path {
        Some(path) => format!("interrupted; the state is saved in {}", path.display()),
        None => "interrupted; no state was saved, so the training would start from the beginning".to_owned(),
    }
}

impl From<LockError> for TrainError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse(error) => Self::InUse(error),
            LockError::Io { path, source } => Self::Io { path, source },
        }
    }
}

impl From<LoaderError> for TrainError {
    fn from(error: LoaderError) -> Self {
        Self::Loader(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_not_finite_says_where_in_its_batch() {
        let causes = vec!["case a, patch from (0, 1, 2): the cross-entropy is inf".to_owned()];
        let step = |source| TrainError::Step { epoch: 2, iteration: 7, causes: causes.clone(), source };
        let error = step(StepError::NotFinite { what: "loss", value: f64::INFINITY }).to_string();
        assert_eq!(
            error,
            "epoch 2, iteration 7: the loss became inf: case a, patch from (0, 1, 2): the cross-entropy is inf; look for \
             extreme intensities there, or lower the learning rate"
        );
        let shape = NetworkError::Input { found: [1; 5], expected: "another".to_owned() };
        let expected = format!("epoch 2, iteration 7: {shape}");
        assert_eq!(step(StepError::Network(shape)).to_string(), expected);
    }
}

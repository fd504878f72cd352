//! What to do about an error, as data.
//!
//! An error of a library states facts: the file, what was found, what was expected. What to do about it depends on who asks. The
//! program names a flag or a verb, a caller from Rust or C has neither. So errors have a [`Hint`] as their last source where there
//! is something to do, and whoever shows them puts it into words: the program into those of its command line, everybody else
//! with [`explain`].

use std::error::Error;
use std::fmt;

use crate::memory::LimitedBy;

/// What to do about an error. Errors have it as a source, see [`Hint::of`]; its text names no flags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Give one of the three folders.
    SetFolder {
        /// What lies in it, e.g. `raw datasets`.
        content: &'static str,
        /// Its name in nnU-Net, which is that of its environment variable: `nnUNet_raw`.
        name: &'static str,
    },
    /// Make the dataset one of the current format.
    ConvertVersion1,
    /// Give the converted dataset another id.
    AnotherId {
        /// Whether the id is that of a task, and not part of a name that the caller has chosen.
        converting_task: bool,
    },
    /// Look at all faults of the dataset.
    VerifyDataset,
    /// Give the new plans a name of their own.
    AnotherPlansName,
    /// Plan and preprocess the dataset, or name other plans.
    MakePlans {
        /// Name of the dataset.
        dataset: String,
    },
    /// Preprocess the configuration.
    Preprocess {
        /// Name of the dataset.
        dataset: String,
    },
    /// Have more memory, or need less.
    Memory {
        /// What does not fit.
        work: MemoryWork,
        /// What sets the limit; `None` if the caller did.
        limited_by: Option<LimitedBy>,
    },
    /// Train the model, or name another checkpoint.
    TrainOrNameCheckpoint,
    /// Name the folds and the checkpoint that are there.
    NameFoldsAndCheckpoint,
    /// Name the whole model, and single folds separately.
    NameModelFolder,
    /// Train the folds to their end, or name those that are trained.
    FinishFolds,
    /// Train the folds with the same splits, or name those that belong together.
    FoldsOfOneSplit,
    /// Finish the training, or validate with the other checkpoint.
    FinishTraining,
    /// Train the previous stage of a cascade on all folds.
    TrainPreviousStage {
        /// Its configuration.
        previous: String,
    },
    /// Predict with the previous stage of a cascade first, and give its segmentations.
    PredictPreviousStage {
        /// Its configuration.
        previous: String,
    },
    /// Do not give segmentations of a previous stage.
    NoPreviousStage,
    /// Save the probabilities that an ensemble averages.
    SaveProbabilities,
    /// Predict the missing cases with probabilities.
    PredictMissingCases,
    /// Validate again with probabilities, or compare single models only.
    ValidateWithProbabilities,
    /// Train the model, or leave it out of the comparison.
    TrainOrLeaveOut {
        /// Its configuration.
        configuration: String,
        /// Its trainer.
        trainer: String,
        /// Its plans.
        plans: String,
    },
    /// Name a folder that a prediction or the validation of a training has written.
    NamePredictions,
    /// Predict all patterns of missing channels into this folder.
    PredictPatterns,
    /// Predict the missing cases, or evaluate those that are there.
    EvaluatePresent,
    /// Preprocess the dataset, or give a folder that has its reference segmentations.
    GiveReferences,
    /// Find the best configuration first.
    FindBest,
    /// Train a model to its end, or validate it again.
    FinishOrValidate,
    /// Name an empty or a new folder.
    AnotherOutput,
    /// Name trained models, or leave out what is missing.
    NameTrainedModels,
    /// Move the installed models away, or replace them.
    ReplaceModels,
    /// Install PyTorch, or say where it is.
    InstallTorch,
    /// Install a newer or another PyTorch.
    UpdateTorch,
    /// Use another device.
    AnotherDevice,
}

/// What may need too much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryWork {
    /// A case, mostly because of its size.
    Case,
    /// The prediction of a case.
    Prediction,
    /// A pass of the network on one patch.
    Network,
    /// A training step.
    Training,
}

impl Hint {
    /// The hint of `error`: among its sources, whatever is wrapped around it.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(hint) = error.downcast_ref() {
                return Some(hint);
            }
            cause = error.source();
        }
        None
    }
}

/// The text of `error` with its hint, for callers without words of their own.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    match Hint::of(error) {
        Some(hint) => join(&error.to_string(), &hint.to_string()),
        None => error.to_string(),
    }
}

/// The words of a hint behind those of an error: a sentence of its own, on a line of its own after a list.
pub fn join(error: &str, hint: &str) -> String {
    let between = if error.contains('\n') { "\n" } else { ". " };
    format!("{error}{between}{hint}")
}

impl Error for Hint {}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::SetFolder { content, .. } => return write!(f, "Give the folder of {content}"),
            Self::ConvertVersion1 => "Convert the dataset, or make the changes by hand",
            Self::AnotherId { .. } => "Choose another id",
            Self::VerifyDataset => "Verify the dataset to see all its faults",
            Self::AnotherPlansName => "Or give the new plans a name of their own",
            Self::MakePlans { .. } => "Plan and preprocess the dataset, or name other plans",
            Self::Preprocess { .. } => "Preprocess this configuration with these plans first",
            Self::Memory { work, limited_by } => {
                let remedy = match work {
                    MemoryWork::Case => {
                        "Check size and spacing in the headers of their files, and `spacing` in the plans. "
                    }
                    MemoryWork::Prediction => {
                        "Predict with fewer folds, do not save probabilities, or check the size in the files' headers. "
                    }
                    MemoryWork::Network => "Check patch_size in the plans.json of the model. ",
                    MemoryWork::Training => {
                        "Check patch_size and batch_size of the configuration in the plans, or train with smaller \
                         batches or with recomputation. "
                    }
                };
                let limit = match limited_by {
                    None => "Raise the limit or use a machine with more memory",
                    Some(LimitedBy::Machine) => {
                        "Use a machine with more memory, or set a limit to try anyway"
                    }
                    Some(LimitedBy::Group) => "Ask for more, or set a limit to try anyway",
                    Some(LimitedBy::AddressSpace) => "Raise it with ulimit -v, or set a limit to try anyway",
                    Some(LimitedBy::Data) => "Raise it with ulimit -d, or set a limit to try anyway",
                };
                return write!(f, "{remedy}{limit}");
            }
            Self::TrainOrNameCheckpoint => "Train the model, or name another checkpoint",
            Self::NameFoldsAndCheckpoint => "Name the folds and the checkpoint that are there",
            Self::NameModelFolder => "Name that folder, and single folds separately",
            Self::FinishFolds => "Train these folds to their end, or name those that are trained",
            Self::FoldsOfOneSplit => "Train them again, or name those that belong together",
            Self::FinishTraining => "Finish the training, or validate with the other checkpoint",
            Self::TrainPreviousStage { previous } => {
                return write!(
                    f,
                    "Train {previous} with the same trainer and plans in all five folds (or fold all): its final \
                     validation writes them"
                );
            }
            Self::PredictPreviousStage { previous } => {
                return write!(f, "Predict the same images with {previous} first and give its segmentations");
            }
            Self::NoPreviousStage => "Do not give this folder",
            Self::SaveProbabilities => "Save the probabilities of the predictions",
            Self::PredictMissingCases => "Predict the missing cases, with their probabilities",
            Self::ValidateWithProbabilities => {
                "Validate the model again with its probabilities, or compare single models only"
            }
            Self::TrainOrLeaveOut { .. } => "Train this model, or leave it out",
            Self::NamePredictions => "A prediction and the final validation of a training write such folders",
            Self::PredictPatterns => "Predict all patterns of missing channels into this folder first",
            Self::EvaluatePresent => "Predict them, or evaluate only the predictions that are there",
            Self::GiveReferences => "Preprocess the dataset, or give the folder that it is in",
            Self::FindBest => "Find the best configuration first",
            Self::FinishOrValidate => "Train a model to its end, or validate it again",
            Self::AnotherOutput => "Name an empty or a new folder",
            Self::NameTrainedModels => "Name a trained model, or leave out what is missing",
            Self::ReplaceModels => "Move them away, or allow them to be replaced",
            Self::InstallTorch => "Install it with `pip install torch`, or name its folder",
            Self::UpdateTorch => "Install a newer one with pip",
            Self::AnotherDevice => "Use the device cpu",
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("model: no checkpoint")]
    struct Missing(#[source] Hint);

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error(transparent)]
        Stage(#[from] Missing),
        #[error("prediction: {0}")]
        During(#[source] Box<Self>),
        #[error("2 of 2 cases failed:\na: large\nb: large")]
        Cases(#[source] Option<Hint>),
    }

    #[test]
    fn a_hint_is_found_through_every_wrapper() {
        let error = Outer::During(Box::new(Missing(Hint::TrainOrNameCheckpoint).into()));
        assert_eq!(Hint::of(&error), Some(&Hint::TrainOrNameCheckpoint));
        assert_eq!(
            explain(&error),
            "prediction: model: no checkpoint. Train the model, or name another checkpoint"
        );
        assert_eq!(Hint::of(&Outer::Cases(None)), None);
    }

    #[test]
    fn a_hint_behind_a_list_has_a_line_of_its_own() {
        let error = Outer::Cases(Some(Hint::VerifyDataset));
        assert!(explain(&error).ends_with("b: large\nVerify the dataset to see all its faults"));
    }
}

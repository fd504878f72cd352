//! What to do about an error, in the words of the command line.

use std::error::Error;

use nnunet::hint::{Hint, MemoryWork};
use nnunet::memory::LimitedBy;
use nnunet::train::TrainError;

/// What to do about `error`, with flags and verbs; `None` if there is nothing to say, or its text says it all.
pub(crate) fn for_error(error: &anyhow::Error) -> Option<String> {
    of(error.as_ref()).or_else(|| training_of(error).and_then(for_training).map(str::to_owned))
}

/// The words of the hint that `error` has.
pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<String> {
    Hint::of(error).map(in_words)
}

/// The error of a training, whatever is wrapped around it.
pub(crate) fn training_of(error: &anyhow::Error) -> Option<&TrainError> {
    error.chain().find_map(|cause| match cause.downcast_ref().map(nnunet::Error::root) {
        Some(nnunet::Error::Train(error)) => Some(error),
        _ => cause.downcast_ref(),
    })
}

/// How to go on after a training has ended early.
fn for_training(error: &TrainError) -> Option<&'static str> {
    match error {
        TrainError::Interrupted { path: Some(_), .. } | TrainError::NotSaved { kept: Some(_), .. } => {
            Some("Rerun the command with --c to continue from there")
        }
        TrainError::ValidationInterrupted { checkpoint: true, .. } => {
            Some("Rerun the command with --val to validate it")
        }
        _ => None,
    }
}

/// The words of one hint.
fn in_words(hint: &Hint) -> String {
    let text = match hint {
        Hint::SetFolder { content, name } => {
            let flag = match *name {
                "nnUNet_raw" => "--raw",
                "nnUNet_preprocessed" => "--preprocessed",
                _ => "--results",
            };
            return format!(
                "Give the folder of {content} with {flag} or set the environment variable {name}"
            );
        }
        Hint::ConvertVersion1 => {
            "Convert the dataset with `nnunet convert-v1` (nnUNetv2_convert_old_nnUNet_dataset), or make these \
             changes by hand"
        }
        Hint::AnotherId { converting_task: true } => "Choose another id with -overwrite_id",
        Hint::AnotherId { converting_task: false } => "Choose a name with another id",
        Hint::VerifyDataset => "`nnunet verify` lists all faults of the dataset",
        Hint::AnotherPlansName => "Or give the new plans a name of their own with -overwrite_plans_name",
        Hint::MakePlans { dataset } => {
            return format!(
                "Plan and preprocess the dataset with `nnunet plan-and-preprocess -d {dataset}`, or name other plans \
                 with -p"
            );
        }
        Hint::Preprocess { dataset } => {
            return format!(
                "Run `nnunet preprocess -d {dataset}` with its plans (-plans_name) and the configuration (-c) first"
            );
        }
        Hint::Memory { work, limited_by } => return memory(*work, *limited_by),
        Hint::TrainOrNameCheckpoint => "Train the model, or name another checkpoint with -chk",
        Hint::NameFoldsAndCheckpoint => "Name the folds with -f and the checkpoint with -chk",
        Hint::NameModelFolder => "Name that folder, and single folds with -f",
        Hint::FinishFolds => "Train this fold to its end, or name the folds that are trained with -f",
        Hint::FoldsOfOneSplit => "Train them again, or name those that belong together with -f",
        Hint::FinishTraining => {
            "Finish the training with --c, or validate with the other checkpoint (--val with or without --val_best)"
        }
        Hint::TrainPreviousStage { previous } => {
            return format!(
                "Train {previous} with the same trainer and plans in all five folds (or fold all): its final \
                 validation writes them, and `nnunet train` for {previous} with --val does it again"
            );
        }
        Hint::PredictPreviousStage { previous } => {
            return format!(
                "Predict the same images with {previous} first and name that folder with -prev_stage_predictions. \
                 With the model of {previous} next to this one, that is done for you"
            );
        }
        Hint::NoPreviousStage => "Leave out -prev_stage_predictions",
        Hint::SaveProbabilities => {
            "Predict with --save_probabilities; for validation cases, train with --npz, or add them with --val --npz"
        }
        Hint::PredictMissingCases => "Predict the missing ones with --save_probabilities",
        Hint::ValidateWithProbabilities => {
            "Add them with `nnunet train` and --val --npz, or compare single models only with --disable_ensembling"
        }
        Hint::TrainOrLeaveOut { configuration, trainer, plans } => {
            return format!(
                "Train it (nnunet train DATASET {configuration} FOLD -tr {trainer} -p {plans}), or leave it out: name \
                 the configurations with -c, the trainers with -tr, the plans with -p"
            );
        }
        Hint::NamePredictions => "`nnunet predict` and the final validation of a training write such folders",
        Hint::EvaluatePresent => "Predict them, or evaluate only what is there with --chill",
        Hint::GiveReferences => {
            "Preprocess the dataset, or give the folder that it is in with --raw or --preprocessed"
        }
        Hint::FindBest => "Run `nnunet find-best-configuration` first",
        Hint::FinishOrValidate => {
            "Train a model to its end with `nnunet train`, or validate it again with `nnunet train` and --val"
        }
        Hint::AnotherOutput => "Name an empty or a new folder with -o",
        Hint::NameTrainedModels => {
            "Name the configurations to export with -c, the trainer with -tr, the plans with -p, or leave out what is \
             missing with --not_strict"
        }
        Hint::ReplaceModels => "Move them away, or replace them with --force",
        Hint::InstallTorch => {
            "Run `pip install torch`, or name the folder of an installed one with --libtorch"
        }
        Hint::UpdateTorch => "Run `pip install --upgrade torch`, or name another one with --libtorch",
        Hint::AnotherDevice => "Use -device cpu; `nnunet devices` shows what can be used",
        // Of a later version of the libraries.
        other => return other.to_string(),
    };
    text.to_owned()
}

/// What to do about too little memory: about the work first, then about the limit.
fn memory(work: MemoryWork, limited_by: Option<LimitedBy>) -> String {
    let remedy = match work {
        MemoryWork::Case => {
            "Check size and spacing in the headers of their files, and `spacing` in the plans"
        }
        MemoryWork::Prediction => {
            "Predict with fewer folds (-f), without --save_probabilities, or check the size in the files' headers"
        }
        MemoryWork::Network => "Check patch_size in the plans.json of the model",
        MemoryWork::Training => {
            "Check patch_size and batch_size of the configuration in the plans, or train with --batch-size or \
             --recompute"
        }
    };
    let limit = match limited_by {
        None => "Raise --max-ram or use a machine with more memory",
        Some(LimitedBy::Machine) => "Use a machine with more memory, or give --max-ram to try anyway",
        Some(LimitedBy::Group) => "Ask for more, or give --max-ram to try anyway",
        Some(LimitedBy::AddressSpace) => "Raise it with ulimit -v, or give --max-ram to try anyway",
        Some(LimitedBy::Data) => "Raise it with ulimit -d, or give --max-ram to try anyway",
    };
    format!("{remedy}. {limit}")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn hints_name_the_flags_and_verbs_that_help() {
        let (configuration, trainer, plans) =
            ("2d".to_owned(), "nnUNetTrainer".to_owned(), "nnUNetPlans".to_owned());
        for (hint, words) in [
            (Hint::SaveProbabilities, "--save_probabilities"),
            (Hint::ValidateWithProbabilities, "--disable_ensembling"),
            (Hint::FinishFolds, "-f"),
            (Hint::TrainOrLeaveOut { configuration, trainer, plans }, "nnunet train DATASET 2d FOLD"),
            (
                Hint::MakePlans { dataset: "Dataset007_Balls".to_owned() },
                "plan-and-preprocess -d Dataset007_Balls",
            ),
            (Hint::SetFolder { content: "raw datasets", name: "nnUNet_raw" }, "--raw or set"),
            (Hint::SetFolder { content: "trained models", name: "nnUNet_results" }, "--results or set"),
            (Hint::Memory { work: MemoryWork::Training, limited_by: None }, "--recompute. Raise --max-ram"),
            (Hint::AnotherId { converting_task: true }, "-overwrite_id"),
        ] {
            let said = in_words(&hint);
            assert!(said.contains(words), "{words:?} in {said}");
        }
    }

    #[test]
    fn the_hint_of_an_error_is_found_behind_its_context() {
        let error = nnunet::Folders::default().raw().map(|_| ()).context("fingerprint").unwrap_err();
        assert!(for_error(&error).unwrap().starts_with("Give the folder of raw datasets with --raw"));
        assert_eq!(for_error(&anyhow::anyhow!("no hint")), None);
    }
}

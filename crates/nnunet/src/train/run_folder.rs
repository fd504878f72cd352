//! Where the results of a training lie, with the names of the reference.

use std::path::{Path, PathBuf};

use crate::dataset::splits::Fold;

/// The folder of one fold and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    model: PathBuf,
    fold: PathBuf,
}

impl RunFolder {
    /// `RESULTS/DATASET/TRAINER__PLANS__CONFIGURATION/fold_X`.
    pub fn new(
        results: &Path,
        dataset: &str,
        trainer: &str,
        plans: &str,
        configuration: &str,
        fold: Fold,
    ) -> Self {
        let model = results.join(dataset).join(format!("{trainer}__{plans}__{configuration}"));
        let fold = model.join(format!("fold_{fold}"));
        Self { model, fold }
    }

    /// The folder of the model, which holds the folds, plans.json and dataset.json.
    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The folder of the fold.
    pub fn fold(&self) -> &Path {
        &self.fold
    }

    /// State after the last saved epoch, or at an interruption; deleted when the training is complete.
    pub fn latest_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_latest.pth")
    }

    /// State with the best moving average of the pseudo-Dice.
    pub fn best_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_best.pth")
    }

    /// State after the last epoch.
    pub fn final_checkpoint(&self) -> PathBuf {
        self.fold.join("checkpoint_final.pth")
    }

    /// Predictions and evaluation of the validation cases.
    pub fn validation(&self) -> PathBuf {
        self.fold.join("validation")
    }

    /// Segmentations of all folds' validation cases for the configuration `next` of a cascade.
    pub fn next_stage(&self, next: &str) -> PathBuf {
        self.model.join("predicted_next_stage").join(next)
    }

    /// The checkpoint to continue from: the final one, else the latest, else the best.
    pub fn resumable_checkpoint(&self) -> Option<PathBuf> {
        [self.final_checkpoint(), self.latest_checkpoint(), self.best_checkpoint()]
            .into_iter()
            .find(|path| path.is_file())
    }
}

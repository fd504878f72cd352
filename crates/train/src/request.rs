//! What is asked of a training.

use std::path::PathBuf;
use std::sync::Arc;

use nnunet_graph::backend::Backend;

use nnunet_dataset::DatasetName;
use nnunet_dataset::splits::Fold;
use nnunet_recipe::Recipe;

/// What to train.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The dataset.
    pub dataset: DatasetName,
    /// Name of the configuration, e.g. `3d_fullres`.
    pub configuration: String,
    /// The fold.
    pub fold: Fold,
    /// Name of the plans, e.g. `nnUNetPlans`.
    pub plans: String,
    /// What the trainer decides.
    pub recipe: Recipe,
    /// Batch size instead of the recipe's or the plans'.
    pub batch_size: Option<usize>,
    /// Seed of the weights and of all random choices.
    pub seed: u64,
    /// What computes the network.
    pub backend: Arc<dyn Backend>,
    /// Where the weights come from.
    pub start: Start,
    /// Whether checkpoints are written.
    pub checkpointing: bool,
}

/// Where a training begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With random weights.
    New,
    /// Where an earlier run stopped; with random weights if there was none.
    Resume,
    /// With the weights of a checkpoint, but the segmentation heads.
    Pretrained(PathBuf),
    /// With everything of one checkpoint, for validation.
    From(PathBuf),
}

//! Experiments: a recipe and variants of it, trained on the same folds and compared.
//!
//! ```toml
//! dataset = "Dataset004_Hippocampus"
//! configurations = ["3d_fullres"]     # the default
//! folds = [0, 1]                      # default: 0 to 4
//!
//! [base]                              # or base = "nnUNetTrainer", or base = "my_recipe.toml"
//! base = "nnUNetTrainer"
//! epochs = 50
//!
//! [variants.focal]                    # only what differs from the base
//! loss = { kind = "dice_focal", gamma = 2 }
//!
//! [variants.adam]
//! optimiser = "adamw"
//! initial_learning_rate = 1e-3
//! ```

mod error;
mod file;
mod run;

pub use error::ExperimentError;
pub use file::Experiment;
pub(crate) use run::runs;
pub use run::{ExperimentRun, RunState};

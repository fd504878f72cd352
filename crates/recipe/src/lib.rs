//! Trainers as data. In the reference a variant of the training is a class; here it is a [`Recipe`], found by the same name
//! or read from a file, so that folders and checkpoints keep their names.
//!
//! Parts of a training (loss, optimiser, schedule, augmentation, sampling) are [`Choice`](nnunet_base::parts::Choice)s by
//! name; what they name is found where the training is put together.
#![forbid(unsafe_code)]

mod built_in;
mod document;
mod epochs;
mod error;
mod file;
mod fine_tuning;
mod network;
mod recipe;

pub use built_in::recipes;
pub use epochs::find;
pub use error::{RecipeError, UnknownTrainer};
pub use file::{is_file_name, read_file};
pub use fine_tuning::{FineTuning, LoadedPart};
pub use network::{NetworkOverride, NetworkOverrideError};
pub use recipe::{EpochLog, GroupRule, Recipe, ValidatedCheckpoint};

//! Training: sampling, the loop over epochs, state, log, validation. Steps are taken by a session of a backend.
#![forbid(unsafe_code)]

pub mod batch;
mod benchmark;
pub mod case_source;
mod data;
mod epoch;
mod error;
mod fresh;
mod groups;
pub mod history;
mod hook;
pub mod loader;
pub mod log_file;
mod log_times;
mod observers;
mod parts;
pub mod progress_plot;
mod random_batch;
mod record;
mod request;
mod run_folder;
pub mod sampler;
pub mod sampling;
mod saving;
mod setup;
mod start;
mod state;
mod stored_source;
mod teacher;
mod trainer;
mod validate;

pub use data::Sources;
pub use error::TrainError;
pub use groups::{Members, ParameterGroup};
pub use hook::{FinishedStep, HookError, StepAddress, StepHook};
pub use log_times::training_seconds;
pub use nnunet_base::progress::EpochReport;
pub use parts::Parts;
pub use request::{Start, TrainRequest};
pub use run_folder::RunFolder;
pub use trainer::Training;

//! Training: sampling, schedule, the loop over epochs, state, log, validation. Steps are taken by a session of a backend.

pub mod batch;
pub mod case_source;
mod data;
mod epoch;
mod error;
mod groups;
pub mod history;
mod hook;
pub mod loader;
pub mod log_file;
mod observers;
pub mod progress_plot;
mod record;
mod report;
mod request;
mod run_folder;
pub mod sampler;
mod saving;
pub mod schedule;
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
pub use report::EpochReport;
pub use request::{Start, TrainRequest};
pub use run_folder::RunFolder;
pub use trainer::Training;

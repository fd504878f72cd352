//! Training: sampling, loss, schedule, state, log, validation.

pub mod batch;
pub mod case_source;
mod engine;
mod error;
pub mod history;
pub mod loader;
pub mod log_file;
pub mod loss;
pub mod progress_plot;
mod record;
mod request;
mod run_folder;
pub mod sampler;
pub mod schedule;
mod state;
mod stored_source;
mod trainer;
mod validate;

pub use engine::{Engine, StepError};
pub use error::TrainError;
pub use request::{Start, TrainRequest};
pub use run_folder::RunFolder;
pub use trainer::Training;

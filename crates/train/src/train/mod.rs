//! Training: sampling, the loop over epochs, state, log, validation. Steps are taken by a session of a backend.

pub mod batch;
pub mod case_source;
mod error;
pub mod history;
pub mod loader;
pub mod log_file;
pub mod progress_plot;
mod record;
mod request;
mod run_folder;
pub mod sampler;
mod state;
mod stored_source;
mod trainer;
mod validate;

pub use error::TrainError;
pub use request::{Start, TrainRequest};
pub use run_folder::RunFolder;
pub use trainer::Training;

//! Training: sampling, loss, schedule, state, log, validation.

pub mod batch;
pub mod case_source;
pub mod history;
pub mod loader;
pub mod log_file;
pub mod loss;
pub mod progress_plot;
pub mod recipe;
pub mod sampler;
pub mod schedule;

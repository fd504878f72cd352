//! Training: sampling, loss, schedule, state, log, validation.

pub mod history;
pub mod log_file;
pub mod loss;
pub mod progress_plot;
pub mod recipe;
pub mod schedule;

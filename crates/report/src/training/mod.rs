//! The report of a training: its curves, and what the final validation came to.

mod curves;
mod fold;
mod page;
mod waiting;

pub use page::{TrainingRequest, training_report};

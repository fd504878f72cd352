//! Sliding-window inference and the way back to the original grid.

mod cascade;
mod error;
mod export;
pub mod gaussian;
pub mod mirror;
mod model_folder;
mod predictor;
mod probabilities;
mod run;
pub mod sliding_window;
pub mod tiles;

pub use cascade::previous_stage_model;
pub use error::PredictError;
pub use export::{ExportError, Exporter};
pub use model_folder::{Model, present_folds};
pub use predictor::{Predictor, WindowOptions, window_for};
pub use probabilities::write_probabilities;
pub use run::{PredictRequest, Predicted, predict_cases, write_prediction};

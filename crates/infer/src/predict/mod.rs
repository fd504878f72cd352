//! Sliding-window inference and the way back to the original grid.
//!
//! A [`Predictor`] keeps a model loaded and segments images in memory or files, one after the other; it can
//! be stopped from another thread, and says how far it is:
//!
//! ```
//! use nnunet_base::Ctx;
//! use nnunet_dataset::ImageGeometry;
//! use nnunet_infer::predict::{Model, Predictor, WindowOptions};
//! use nnunet_data::Parts;
//! use nnunet_data::preprocess::RawCase;
//! use nnunet_base::progress::{Cancel, Event, Progress};
//! use nnunet_exec_cpu::CpuBackend;
//! use nnunet_recipe::recipes;
//! use nnunet_volume::{ChannelVolume, SpacingMm};
//!
//! struct Percent;
//! impl Progress for Percent {
//!     fn event(&self, event: Event<'_>) {
//!         if let Event::Advanced { done, .. } = event {
//!             println!("{done} network passes");
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A model folder: plans.json, dataset.json, fold_0/checkpoint_final.pth.
//! # let folder = nnunet_testkit::model::ball_model();
//! let options = WindowOptions { mirroring: false, ..WindowOptions::default() };
//! let model = Model::load(&folder, &[], "checkpoint_final.pth", &Parts::default(), &recipes())?;
//! let mut predictor = Predictor::new(model.spec, model.weights, &CpuBackend::default(), options)?;
//!
//! // One channel of 20 x 24 x 22 voxels (z, y, x) of 1 mm: a bright ball.
//! let [depth, height, width] = [20usize, 24, 22];
//! let mut voxels = Vec::new();
//! for z in 0..depth {
//!     for y in 0..height {
//!         for x in 0..width {
//!             let square = |at: usize, size: usize| (at as f32 - size as f32 / 2.0).powi(2);
//!             let distance = (square(z, depth) + square(y, height) + square(x, width)).sqrt();
//!             voxels.push(if distance < 3.0 { 145.0 } else if distance < 6.5 { 105.0 } else { 65.0 });
//!         }
//!     }
//! }
//! let case = RawCase {
//!     identifier: "ball".to_owned(),
//!     images: ChannelVolume::new(1, [depth, height, width], voxels).ok_or("voxels and shape differ")?,
//!     geometry: ImageGeometry::Spacing(SpacingMm::UNIT),
//!     segmentation: None,
//!     absent: Vec::new(),
//! };
//! // `cancel.cancel()` in another thread ends the prediction with `PredictError::Interrupted`.
//! let cancel = Cancel::new();
//! let labels = predictor.predict_image(case, Ctx::new(&Percent, &cancel))?;
//! assert_eq!(labels.shape(), [20, 24, 22]);
//! assert_eq!(labels.data()[labels.index(10, 12, 11)], 2);
//! assert_eq!(labels.data()[labels.index(1, 1, 1)], 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`Predictor::predict_files`] does the same from the files of a case to a file; [`predict_cases`] predicts
//! many cases, overlapping reading, network and export, within a limit of memory.

mod bands;
mod cascade;
mod case_files;
mod cases;
mod error;
mod export;
pub mod gaussian;
mod in_memory;
mod memory;
pub mod mirror;
mod model_folder;
mod networks;
mod pipeline;
mod predictor;
mod probabilities;
pub mod quality;
mod run;
mod slab_stream;
pub mod sliding_window;
mod sliding_window_error;
pub mod tiles;

pub use bands::LogitSink;
pub use cascade::previous_stage_model;
pub use cases::{CaseSize, Cases, NextStage, PreparedCase};
pub use error::PredictError;
pub use export::{ExportError, Exporter, LabelsOfSlices};
pub use memory::{Extras, MemoryNeed, TooLarge};
pub use model_folder::{Model, present_folds};
pub use pipeline::Pipeline;
pub use predictor::{Predictor, WindowOptions};
pub use probabilities::write_probabilities;
pub use run::{PredictRequest, Predicted, QualityRequest, predict_cases};

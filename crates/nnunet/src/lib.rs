//! The nnU-Net v2 pipeline, one module per stage, in the order in which data flows:
//! dataset, fingerprint, plan, preprocess, augment, train, predict, ensemble, evaluate, postprocess,
//! select, model_store.
//!
//! A stage uses the ones before it, never one after it. Nothing here prints: stages return data
//! and report typed progress events.
#![forbid(unsafe_code)]

pub mod augment;
pub mod convert;
pub mod dataset;
pub mod ensemble;
pub mod evaluate;
pub mod files;
pub mod fingerprint;
pub mod json;
mod lock;
pub mod memory;
pub mod model;
pub mod model_store;
mod npy;
pub mod numpy_random;
mod one_case;
pub mod overlay;
pub mod plan;
pub mod postprocess;
pub mod predict;
pub mod prediction_folder;
pub mod preprocess;
pub mod progress;
pub mod select;
pub mod spelling;
pub mod train;
mod workers;

pub use lock::FolderInUse;
pub use memory::MemoryLimitError;
pub use one_case::Panicked;

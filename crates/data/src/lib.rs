//! From raw images to training data: datasets and their faults, conversions, fingerprint, plans, preprocessing.
//!
//! A stage uses the ones before it: dataset, fingerprint, plan, preprocess. Stages return data and typed progress events;
//! nothing here prints.
#![forbid(unsafe_code)]

pub mod convert;
pub mod dataset;
pub mod fingerprint;
mod parts;
pub mod plan;
mod planner;
pub mod prediction_folder;
pub mod preprocess;

pub use parts::Parts;

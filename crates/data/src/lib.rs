//! From a raw dataset to training data: fingerprint, plans, preprocessing.
//!
//! A stage uses the ones before it: fingerprint, plan, preprocess. Stages return data and typed progress events;
//! nothing here prints.
#![forbid(unsafe_code)]

pub mod fingerprint;
pub mod normalization;
mod parts;
pub mod plan;
mod planner;
pub mod prediction_folder;
pub mod preprocess;
pub mod resampling;

pub use parts::Parts;

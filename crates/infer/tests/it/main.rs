//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod export_goldens;
mod model_store;
mod predict_models;
mod quality;
mod torch_resampling;

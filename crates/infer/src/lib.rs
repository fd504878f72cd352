//! From a trained model to segmentations: model folders and the store of models, prediction, cascades, ensembles.
#![forbid(unsafe_code)]

pub mod ensemble;
pub mod model;
pub mod model_store;
pub mod predict;

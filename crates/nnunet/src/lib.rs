//! nnU-Net v2 as a library: every verb of the program as a function of a [`Project`], from a typed request to a typed
//! outcome, with progress as events and cancellation from another thread.
//!
//! This crate is the interface: programs, bindings and servers are thin faces of it. The modules below are the stages that
//! the verbs are made of, in the order in which data flows; they live in crates of their own, whose interfaces may change.
#![forbid(unsafe_code)]

pub mod backend;
pub mod compare;
mod error;
pub mod experiment;
pub mod missing_patterns;
mod project;
mod registry;
pub mod select;
pub mod submit;

pub use error::Error;
pub use project::*;
pub use registry::Registry;

pub use nnunet_assess::{evaluate, overlay, postprocess, statistics, volumetry};
pub use nnunet_base::{
    Ctx, FolderInUse, Hint, MemoryLimitError, Panicked, files, hint, memory, parts, progress, spelling,
    workers,
};
pub use nnunet_data::{Parts, fingerprint, normalization, plan, prediction_folder, preprocess, resampling};
pub use nnunet_dataset::{DatasetName, Folders, convert};
pub use nnunet_infer::{ensemble, model, model_store, predict};
pub use nnunet_pyformats::{json, numpy_random, pickle};

pub use {
    nnunet_augment as augment, nnunet_checkpoint as checkpoint, nnunet_dataset as dataset,
    nnunet_graph as graph, nnunet_image_io as image_io, nnunet_recipe as recipe, nnunet_report as report,
    nnunet_train as train, nnunet_volume as volume,
};

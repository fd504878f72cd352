//! nnU-Net v2 as a library: every stage of the pipeline under one roof, in the order in which data flows.
//!
//! dataset, fingerprint, plan, preprocess, augment, train, predict, ensemble, evaluate, postprocess, select, model_store.
//! The stages live in crates of their own; this one joins them and is what programs use.
#![forbid(unsafe_code)]

pub mod backend;
pub mod select;

pub use nnunet_assess::{evaluate, overlay, postprocess, statistics, volumetry};
pub use nnunet_base::{
    Ctx, FolderInUse, MemoryLimitError, Panicked, files, memory, parts, progress, spelling,
};
pub use nnunet_data::{Parts, convert, dataset, fingerprint, plan, prediction_folder, preprocess};
pub use nnunet_infer::{ensemble, model, model_store, predict};
pub use nnunet_pyformats::{json, numpy_random};
pub use nnunet_train::{augment, train};
pub use {nnunet_image_io as image_io, nnunet_recipe as recipe, nnunet_volume as volume};

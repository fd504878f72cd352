//! Trained models as things to keep and hand on: packed into a zip archive, installed from one, listed.
//!
//! ```text
//! RESULTS/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres/{plans.json, dataset.json, fold_0/...}
//! RESULTS/Dataset004_Hippocampus/ensembles/ensemble___.../{postprocessing.pkl, ...}
//! RESULTS/Dataset004_Hippocampus/inference_information.json
//! ```
//! An archive has the same paths, relative to RESULTS, as those of the reference.

mod archive;
mod error;
mod export;
mod install;
mod list;

pub use error::StoreError;
pub use export::{ExportRequest, export_model};
pub use install::{Installed, install_model};
pub use list::{InstalledModel, installed_models};

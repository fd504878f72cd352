//! Averaging the probabilities of several models, and the segmentation of the mean.
//!
//! ```text
//! in1/CASE.npz, in2/CASE.npz, ... -> mean in f32, in the order of the list -> CASE.nii.gz
//! in1/CASE.pkl                    -> geometry
//! ```
//! Probabilities are read class by class, so that a case needs memory for its voxels, not for all classes of
//! all members.

mod error;
mod folders;
mod merge;

pub use error::EnsembleError;
pub use folders::check_complete;
pub use folders::ensemble_folders;
pub use merge::{MergeJob, Merger};

//! How good a segmentation is: overlap with the reference segmentation per case and class, and the
//! summary over a folder (`summary.json`).

mod additions;
mod error;
pub mod folder;
pub mod overlap;
pub mod summary;
pub mod surface;

pub use additions::{AddedMetrics, Additions};
pub use error::EvaluateError;
pub use folder::{FolderEvaluation, Missing, evaluate_folder, evaluate_simple};
pub use overlap::{Overlap, overlaps};
pub(crate) use summary::pairwise_sum;
pub use summary::{CaseMetrics, Metrics, Summary};

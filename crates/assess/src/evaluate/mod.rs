//! How good a segmentation is: overlap with the reference segmentation per case and class, further metrics by name, and
//! the summary over a folder (`summary.json`).

mod added;
mod case;
mod error;
mod evaluator;
pub mod folder;
mod intervals;
mod metric;
pub mod metrics;
mod neighbourhood;
pub mod overlap;
mod probabilities;
mod skeleton;
pub mod summary;
pub mod surfels;
mod table;

pub use added::AddedMetrics;
pub use case::{ClassCase, Masks};
pub use error::EvaluateError;
pub use evaluator::Evaluator;
pub use folder::{FolderEvaluation, Missing};
pub use intervals::confidence;
pub use metric::{Metric, MetricBuilder, MetricError, choose, metrics};
pub use overlap::{Overlap, overlaps};
pub use probabilities::ClassProbabilities;
pub(crate) use summary::pairwise_sum;
pub use summary::{CaseMetrics, Metrics, Summary};

//! The report of a dataset: what its cases are like, what is wrong with them, which to look at first, and why the plans are as
//! they are.

mod outliers;
mod page;
mod pictures;
mod survey;

pub use outliers::{Reason, Suspicion, suspicions};
pub use page::{DatasetContents, dataset_report};
pub use survey::{CaseSurvey, ClassSurvey, Survey, survey};

//! The report of an evaluation: what a summary.json says, and how the worst, the median and the best case look.

mod charts;
mod files;
mod page;
mod pictures;
mod ranking;
mod tables;
mod viewer;
mod warned;

pub use page::{EvaluationRequest, evaluation_report};

pub(crate) use page::picture_section;

pub(crate) use charts::metric_boxes;
pub(crate) use files::CaseFiles;
pub(crate) use pictures::draw_cases;
pub(crate) use ranking::{rank, worst_median_best};
pub(crate) use tables::{case_table, mean_table};

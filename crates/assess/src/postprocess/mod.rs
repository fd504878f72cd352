//! Removing what is most likely wrong: all but the largest component of a class, where that was found to help.
//!
//! ```text
//! predictions of the cross-validation, references -> determine -> postprocessing.pkl, .json, postprocessed/
//! new predictions, postprocessing.pkl             -> apply
//! ```

mod apply;
mod determine;
mod error;
mod file;
mod largest_component;

pub use apply::apply_to_folder;
pub use determine::{Decision, Determined, determine};
pub use error::PostprocessError;
pub use largest_component::{Classes, KeepLargest, Postprocessing};

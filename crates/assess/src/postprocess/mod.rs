//! Removing what is most likely wrong: all but the largest component of a class, where that was found to help. Files name what
//! is done by [functions](Function), to which a caller may add.
//!
//! ```text
//! predictions of the cross-validation, references -> determine -> postprocessing.pkl, .json, postprocessed/
//! new predictions, postprocessing.pkl             -> apply
//! ```

mod apply;
mod determine;
mod error;
mod file;
mod keep_largest_arguments;
mod largest_component;
mod step;

pub use apply::apply_to_folder;
pub use determine::{Decision, Determined, determine};
pub use error::PostprocessError;
pub use largest_component::{Classes, KeepLargest};
pub use step::{Change, ChangeBuilder, Function, Postprocessing, Step, postprocessings};

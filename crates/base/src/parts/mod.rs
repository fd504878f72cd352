//! Parts that are chosen by name: losses, transforms, planners, image formats and whatever else a caller may add to.
//!
//! A [`Named`] holds the parts of one kind by name, those that are built in and those that a caller registers. A
//! [`Choice`] names one of them with its options, as recipes and plans write it; [`Options`] reads these options and
//! refuses those that the part does not have.

mod choice;
mod lazy;
mod named;
mod options;

pub use choice::Choice;
pub use lazy::Lazy;
pub use named::{AlreadyRegistered, Named, UnknownName};
pub use options::{OptionError, Options};

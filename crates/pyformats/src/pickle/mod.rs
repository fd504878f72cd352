//! Python pickles as plain data: read without running anything, written so that Python reads them back.
//!
//! ```
//! use nnunet_pyformats::pickle::{Dict, Protocol, Value, pickle, unpickle};
//!
//! let mut properties = Dict::new();
//! properties.insert("shape_before_cropping", Value::Tuple(vec![35i64.into(), 51i64.into(), 35i64.into()]));
//! let bytes = pickle(&properties.into(), Protocol::Four)?;
//! let shape = unpickle(&bytes)?.get("shape_before_cropping").and_then(Value::as_usizes);
//! assert_eq!(shape, Some(vec![35, 51, 35]));
//! # Ok::<(), nnunet_pyformats::pickle::PickleError>(())
//! ```

mod constructors;
mod dict;
mod error;
mod file;
mod machine;
mod node;
mod numpy;
mod opcode;
mod pickler;
#[cfg(test)]
mod tests;
mod text;
mod torch;
mod unpickle;
mod value;

pub use dict::Dict;
pub use error::PickleError;
pub use file::{PickleFileError, read_pickle_file, write_pickle_file};
pub use numpy::{Dtype, NdArray, Scalar};
pub use pickler::{Protocol, pickle};
pub use torch::{StorageRef, TensorRef};
pub use unpickle::{Limits, unpickle, unpickle_prefix, unpickle_with};
pub use value::{Global, Object, Value};

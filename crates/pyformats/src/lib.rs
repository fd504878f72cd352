//! Python's file formats as plain data: JSON in Python's dialect, pickles, NumPy arrays, and NumPy's random numbers.
//!
//! Nothing that is read is ever run.
#![forbid(unsafe_code)]

pub mod json;
pub mod npy;
pub mod npz;
pub mod numpy_random;
pub mod pickle;

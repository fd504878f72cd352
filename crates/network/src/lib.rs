//! Networks as data (graphs over named parameters), the executors that run them, optimisers and
//! checkpoints. Knows nothing of datasets, plans files or images.
#![forbid(unsafe_code)]

pub mod executor;
pub mod tensor;

pub use executor::{Executor, Trainable};
pub use tensor::Tensor;

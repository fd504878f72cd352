//! Networks as data: graphs over named parameters, architectures, what an executor has to offer, and optimisers.
//! Knows nothing of datasets, plans files or images.
#![forbid(unsafe_code)]

pub mod architectures;
pub mod error;
pub mod executor;
pub mod graph;
pub mod init;
pub mod optimiser;
pub mod parameters;
pub mod shapes;
pub mod tensor;

pub use architectures::build;
pub use error::NetworkError;
pub use executor::{Executor, Trainable};
pub use graph::Graph;
pub use parameters::{Parameter, Parameters};
pub use tensor::Tensor;

//! Networks as data: graphs over named parameters, architectures, losses, optimisers, schedules, and the seam
//! behind which devices run them ([`backend`]).
//! Knows nothing of datasets, plans files or images.
#![forbid(unsafe_code)]

pub mod architectures;
pub mod backend;
pub mod error;
pub mod graph;
pub mod init;
pub mod loss;
pub mod optimiser;
pub mod parameters;
pub mod schedule;
pub mod shapes;
pub mod tensor;

pub use architectures::build;
pub use error::NetworkError;
pub use graph::Graph;
pub use parameters::{Parameter, Parameters};
pub use tensor::Tensor;

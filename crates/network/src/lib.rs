//! Networks as data (graphs over named parameters), the executors that run them, optimisers and
//! checkpoints. Knows nothing of datasets, plans files or images.
#![forbid(unsafe_code)]

pub mod architectures;
pub mod checkpoint;
pub mod cpu;
pub mod error;
pub mod executor;
pub mod graph;
pub mod init;
pub mod optimiser;
pub mod parameters;
pub mod shapes;
pub mod tensor;

pub use architectures::build;
pub use cpu::{CpuExecutor, CpuOptions, MemoryEstimate, Precision, Timing};
pub use error::NetworkError;
pub use executor::{Executor, Trainable};
pub use graph::Graph;
pub use nnunet_kernels::CpuLevel;
pub use parameters::{Parameter, Parameters};
pub use tensor::Tensor;

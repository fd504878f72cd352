//! Runs networks through libtorch, PyTorch's library, which is opened at run time: on NVIDIA cards, on the GPU of a Mac, and,
//! to compare, on libtorch's CPU. Nothing is linked: a program with this crate starts and works without libtorch as it does
//! without the crate.
//!
//! [`Places`] finds the library, [`TorchBackend::open`] opens it through PyTorch's stable C interface (2.10 or newer) and checks
//! every operation that is used. Graphs are interpreted node by node, forward and backward, without libtorch's autograd; losses
//! and optimisers are interpreted on the device, so that a training step takes a batch there and a few numbers back.
#![deny(unsafe_code)]

mod backend;
mod backward;
mod check;
mod device;
mod error;
mod find;
mod forward;
mod inference;
mod interface;
mod loss;
mod memory;
mod network;
mod optimiser;
mod python;
mod runtime;
mod scaler;
mod training;

pub use backend::{TorchBackend, TorchOptions};
pub use device::{Cards, TorchDevice, cards};
pub use error::OpenError;
pub use find::{Found, Places};
pub use loss::runs_on_device;
pub use runtime::Arithmetic;

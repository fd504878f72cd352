//! A safe layer over libtorch's stable C interface, and the only place of this crate with `unsafe`.
//!
//! The interface (`torch/csrc/stable/c/shim.h`, `torch/csrc/inductor/aoti_torch/c/shim.h`) is promised unchanged for two years
//! after a release. Its functions return 0, or another number after an exception whose text is kept per thread. Tensors are
//! owning handles. Operations go through the dispatcher: a stack of 64-bit values in the order of the operation's schema,
//! which is checked against the arguments here, since libtorch reads as many as its schema says.

#![allow(unsafe_code)]

mod call;
mod driver;
mod elementwise;
mod functions;
mod library;
mod operations;
mod optimiser_steps;
mod tensor;

pub(crate) use call::{Argument, Operation};
pub(crate) use driver::{Driver, NoDriver};
pub(crate) use library::Interface;
#[cfg(test)]
pub(crate) use operations::OPERATIONS;
pub(crate) use operations::{Normalised, Walk};
pub(crate) use optimiser_steps::{AdamStep, Moments, SgdStep, adam, sgd};
pub(crate) use tensor::{Device, Dtype, Element, Tensor};

/// What libtorch refused, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub(crate) struct TorchError {
    /// The function or operation.
    pub(crate) operation: String,
    /// Its message, in one line.
    pub(crate) message: String,
    /// Whether memory was lacking; where libtorch gave no message (before 2.13), whether it may have been.
    pub(crate) memory: bool,
}

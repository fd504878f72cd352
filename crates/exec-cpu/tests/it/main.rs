//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod architectures;
#[path = "../common/mod.rs"]
mod common;
mod executor;
mod hostile;
mod loss_goldens;
mod loss_terms;
mod partly_labelled;
mod sessions;
mod unusual_graphs;

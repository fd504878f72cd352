//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod architectures;
mod backend;
#[path = "../common/backends.rs"]
mod backends;
#[path = "../common/mod.rs"]
mod common;
mod executor;
mod hostile;
#[path = "../common/loss_terms.rs"]
mod loss_cases;
#[path = "../common/loss_goldens.rs"]
mod loss_golden_cases;
mod loss_goldens;
mod loss_terms;
mod partly_labelled;
mod sessions;
mod unusual_graphs;

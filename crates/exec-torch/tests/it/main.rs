//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../../exec-cpu/tests/common/backends.rs"]
mod backends;
#[path = "../../../exec-cpu/tests/common/mod.rs"]
mod common;
mod faults;
#[path = "../../../exec-cpu/tests/common/loss_terms.rs"]
mod loss_cases;
#[path = "../../../exec-cpu/tests/common/loss_goldens.rs"]
mod loss_golden_cases;
mod losses;
mod narrow;
mod operations;
mod torch;

//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod convert;
mod dataset;
mod merge;
mod repair;
mod verify;

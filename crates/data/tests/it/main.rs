//! The integration tests of this crate, one program: it links once.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fingerprint;
mod legacy;
mod parts;
mod plans;
mod plans_json;
mod preprocess;
mod preprocess_dataset;

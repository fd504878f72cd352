//! Test support: phantoms, golden loading, tolerances. Used by tests only.
#![forbid(unsafe_code)]
// A failing helper must fail the test that called it; a skipped one must say so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

pub mod model;
pub mod npy;
pub mod phantom;
pub mod plans;
pub mod sequences;
pub mod shared;
pub mod skip;
pub mod warnings;

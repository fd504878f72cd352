//! Test support: phantoms, golden loading, tolerances. Used by tests only.
#![forbid(unsafe_code)]
// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

pub mod npy;
pub mod shared;

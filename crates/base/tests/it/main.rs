//! Tests of what holds for the texts of all libraries.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod no_flags;

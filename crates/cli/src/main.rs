//! The `nnunet` program.
#![forbid(unsafe_code)]

fn main() {}

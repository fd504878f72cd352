//! File formats.

pub mod b2nd;
pub mod nifti;

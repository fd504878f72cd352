//! Dense volumes with their geometry, resampling and morphology.
//!
//! This crate knows nothing of file formats, networks or nnU-Net. Axis order is (z, y, x) everywhere except
//! in [`geometry::Geometry`], whose fields keep the ITK order (x, y, z) of the file headers.
#![forbid(unsafe_code)]

pub mod error;
pub mod geometry;
pub mod morphology;
pub mod resample;
pub mod spacing;
pub mod volume;

pub use error::{Result, VolumeError};
pub use geometry::Geometry;
pub use spacing::SpacingMm;
pub use volume::{ChannelVolume, Volume};

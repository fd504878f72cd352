//! Images: dense volumes with their geometry, file formats, resampling and morphology.
//!
//! This crate knows nothing of networks or of nnU-Net. Axis order is (z, y, x) everywhere except
//! in [`geometry::Geometry`], whose fields keep the ITK order (x, y, z) of the file headers.
#![forbid(unsafe_code)]

pub mod error;
pub mod formats;
pub mod geometry;
pub mod image;
pub mod morphology;
pub mod resample;
pub mod volume;

pub use error::{Result, VolumeError};
pub use geometry::Geometry;
pub use image::{ChannelImage, Image, ImageWarning, NiftiForm, VoxelType};
pub use volume::{ChannelVolume, Volume};

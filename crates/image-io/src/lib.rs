//! Image files: one module per format. Image formats read into [`Image`] and write label images and other volumes
//! with their geometry; `b2nd` is the format of preprocessed arrays.
#![forbid(unsafe_code)]

pub mod b2nd;
pub mod image;
pub mod itk;
pub mod metaimage;
pub mod natural_image;
pub mod nifti;
pub mod nrrd;
pub mod tiff3d;

mod labels;
mod stream;
mod text_header;
mod tiff;
mod voxels;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

pub use image::{ChannelImage, Image, ImageWarning, NiftiForm, VoxelType};
pub use labels::StoredLabels;
pub use voxels::StoredVoxel;

use nnunet_volume::error::{Result, VolumeError};

/// Writes a file, whole or not at all.
fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    nnunet_base::files::write_atomically(path, fill).map_err(|e| VolumeError::io(path, "write it", e))
}

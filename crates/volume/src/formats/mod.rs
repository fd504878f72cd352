//! File formats. Image formats read into [`crate::Image`] and write label images and other volumes with their
//! geometry; `b2nd` is the format of preprocessed arrays.

pub mod b2nd;
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

pub use voxels::StoredVoxel;

use crate::error::{Result, VolumeError};

/// Writes a file, whole or not at all.
fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    nnunet_files::write_atomically(path, fill).map_err(|e| VolumeError::io(path, "write it", e))
}

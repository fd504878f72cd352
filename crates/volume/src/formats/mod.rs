//! File formats. Image formats read into [`crate::Image`] and write label images and other volumes with their
//! geometry; `b2nd` is the format of preprocessed arrays.

pub mod b2nd;
pub mod metaimage;
pub mod natural_image;
pub mod nifti;
pub mod nrrd;
pub mod tiff3d;

mod labels;
mod text_header;
mod tiff_array;
mod voxels;

pub use voxels::StoredVoxel;

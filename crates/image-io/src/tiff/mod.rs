//! TIFF as it is stored: directories, compressed strips and tiles, and the array that `tifffile` makes of them.
//!
//! Values are those in the file. Nothing that tells a viewer how to show them (MinIsWhite, palettes, orientation)
//! changes them; `tifffile` ignores it too.

mod chunk;
mod compression;
mod directory;
mod page;
mod series;
mod values;
mod writer;

pub(super) use series::{TiffArray, TiffShape, read, read_shape};
pub(super) use writer::write;

use std::path::Path;

use nnunet_volume::error::VolumeError;

fn unsupported(path: &Path, found: String, expected: &'static str) -> VolumeError {
    VolumeError::Unsupported {
        path: path.to_owned(),
        found,
        expected,
        advice: "Convert it to a TIFF with one page a slice, or to .nii.gz.",
    }
}

fn not_tiff(path: &Path, found: impl Into<String>) -> VolumeError {
    VolumeError::NotThisFormat { path: path.to_owned(), format: "TIFF", found: found.into() }
}

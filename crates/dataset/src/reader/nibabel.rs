//! `NibabelIO`, NIfTI with nibabel's affine, and `NibabelIOWithReorient`, the same with the axes turned to right, anterior,
//! superior.

use std::path::Path;

use nnunet_image_io::StoredLabels;
use nnunet_image_io::nifti::nibabel;
use nnunet_volume::{SpacingMm, VolumeError};

use super::format::{ImageFormat, ReadChannels, ReadImage, other_geometry};
use crate::image_geometry::ImageGeometry;

/// The readers.
#[derive(Debug)]
pub(super) struct Nibabel {
    /// Whether the axes are turned.
    pub(super) reorient: bool,
}

impl ImageFormat for Nibabel {
    fn endings(&self) -> &[&str] {
        &[".nii", ".nii.gz"]
    }

    fn counts_non_finite(&self) -> bool {
        true
    }

    fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        let (shape, spacing) = nibabel::read_shape_and_spacing(path, self.reorient)?;
        Ok((1, shape, spacing))
    }

    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        self.read(path).map(Into::into)
    }

    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        let image = if self.reorient { nibabel::read_reoriented(path) } else { nibabel::read(path) }?;
        let geometry = ImageGeometry::Nibabel {
            spacing_zyx: image.spacing_zyx,
            original: image.original_affine,
            reoriented: self.reorient.then_some(image.affine),
        };
        let (stored_type, warnings) = (image.stored_type, image.warnings);
        Ok(ReadImage { volume: image.volume, geometry, stored_type, warnings })
    }

    fn write_labels(
        &self,
        path: &Path,
        labels: &StoredLabels,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError> {
        match geometry {
            ImageGeometry::Nibabel { original, .. } if self.reorient => {
                nibabel::write_stored_reoriented(path, labels, original)
            }
            ImageGeometry::Nibabel { original, .. } => nibabel::write_stored(path, labels, original),
            _ if self.reorient => Err(other_geometry(path, "NibabelIOWithReorient")),
            _ => Err(other_geometry(path, "NibabelIO")),
        }
    }
}

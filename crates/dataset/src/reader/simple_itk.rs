//! `SimpleITKIO`: NIfTI, NRRD and MetaImage with SimpleITK's geometry.

use std::path::Path;

use nnunet_image_io::StoredLabels;
use nnunet_image_io::itk::ItkFormat;
use nnunet_volume::{SpacingMm, VolumeError};

use super::format::{ImageFormat, ReadChannels, ReadImage, other_geometry};
use crate::image_geometry::ImageGeometry;

/// The reader.
#[derive(Debug)]
pub(super) struct SimpleItk;

impl ImageFormat for SimpleItk {
    // `.gipl`, which the reference has too, is not read.
    fn endings(&self) -> &[&str] {
        &[".nii.gz", ".nrrd", ".mha"]
    }

    fn also_reads(&self) -> &[&str] {
        &[".nii"]
    }

    /// ITK refuses NIfTI files whose axes are not at right angles, so the reference goes on to nibabel for them.
    fn can_read(&self, path: &Path) -> bool {
        let Ok(format) = ItkFormat::of(path) else { return false };
        format.read_geometry(path).is_ok_and(|(_, geometry)| format.accepts(&geometry))
    }

    fn counts_non_finite(&self) -> bool {
        true
    }

    fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        let (shape, geometry) = ItkFormat::of(path)?.read_geometry(path)?;
        Ok((1, shape, geometry.spacing_zyx()))
    }

    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        self.read(path).map(Into::into)
    }

    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        let image = ItkFormat::of(path)?.read(path)?;
        Ok(ReadImage {
            volume: image.volume,
            geometry: ImageGeometry::Itk(image.geometry),
            stored_type: image.stored_type,
            warnings: image.warnings,
        })
    }

    fn write_labels(
        &self,
        path: &Path,
        labels: &StoredLabels,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError> {
        match geometry {
            ImageGeometry::Itk(geometry) => ItkFormat::of(path)?.write_stored(path, labels, geometry),
            _ => Err(other_geometry(path, "SimpleITKIO")),
        }
    }
}

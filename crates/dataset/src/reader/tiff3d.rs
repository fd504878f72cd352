//! `Tiff3DIO`: volumes in TIFF, the spacing in a JSON file beside it.

use std::path::Path;

use nnunet_image_io::tiff3d::{self, Naming};
use nnunet_image_io::{ImageWarning, StoredLabels};
use nnunet_volume::{SpacingMm, VolumeError};

use super::format::{ImageFormat, ReadChannels, ReadImage};
use crate::image_geometry::ImageGeometry;

/// The reader.
#[derive(Debug)]
pub(super) struct Tiff3d;

impl ImageFormat for Tiff3d {
    fn endings(&self) -> &[&str] {
        &[".tif", ".tiff"]
    }

    fn knows_place(&self) -> bool {
        false
    }

    fn counts_non_finite(&self) -> bool {
        true
    }

    fn missing_spacing(&self, path: &Path) -> Option<ImageWarning> {
        tiff3d::missing_spacing_file(path, Naming::Channel)
    }

    fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        let (shape, spacing) = tiff3d::read_shape_and_spacing(path, Naming::Channel)?;
        Ok((1, shape, spacing))
    }

    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        read(path, Naming::Channel).map(Into::into)
    }

    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        read(path, Naming::Segmentation)
    }

    fn write_labels(
        &self,
        path: &Path,
        labels: &StoredLabels,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError> {
        tiff3d::write_stored(path, labels, geometry.spacing_zyx())
    }
}

fn read(path: &Path, naming: Naming) -> Result<ReadImage, VolumeError> {
    let image = tiff3d::read(path, naming)?;
    let geometry = ImageGeometry::Spacing(image.geometry.spacing_zyx());
    Ok(ReadImage { volume: image.volume, geometry, stored_type: image.stored_type, warnings: image.warnings })
}

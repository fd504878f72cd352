//! `NaturalImage2DIO`: flat pictures, PNG, BMP or TIFF, whose colours are channels.

use std::path::Path;

use nnunet_image_io::{StoredLabels, natural_image};
use nnunet_volume::{SpacingMm, Volume, VolumeError};

use super::format::{ImageFormat, ReadChannels, ReadImage};
use crate::image_geometry::{ImageGeometry, PICTURE_SPACING};

/// The reader.
#[derive(Debug)]
pub(super) struct NaturalImage2d;

impl ImageFormat for NaturalImage2d {
    fn endings(&self) -> &[&str] {
        &[".png", ".bmp", ".tif"]
    }

    fn also_reads(&self) -> &[&str] {
        &[".tiff"]
    }

    fn channels_are_colours(&self) -> bool {
        true
    }

    fn knows_place(&self) -> bool {
        false
    }

    fn counts_non_finite(&self) -> bool {
        true
    }

    fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        let (channels, shape) = natural_image::read_shape(path)?;
        Ok((channels, shape, PICTURE_SPACING))
    }

    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        let image = natural_image::read(path)?;
        Ok(ReadChannels {
            data: image.channels,
            geometry: ImageGeometry::Spacing(PICTURE_SPACING),
            warnings: image.warnings,
        })
    }

    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        let image = natural_image::read(path)?;
        let (channels, shape) = (image.channels.channels(), image.channels.shape());
        let volume =
            Volume::new(shape, image.channels.into_data()).ok_or_else(|| VolumeError::Unsupported {
                path: path.to_owned(),
                found: format!("a segmentation of {channels} colours"),
                expected: "one label per pixel",
                advice: "Store the labels as a grey image.",
            })?;
        let geometry = ImageGeometry::Spacing(PICTURE_SPACING);
        Ok(ReadImage { volume, geometry, stored_type: image.stored_type, warnings: image.warnings })
    }

    fn write_labels(&self, path: &Path, labels: &StoredLabels, _: &ImageGeometry) -> Result<(), VolumeError> {
        natural_image::write_stored(path, labels)
    }
}

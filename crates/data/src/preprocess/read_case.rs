//! Reading a case's files for preprocessing.

use std::path::Path;

use nnunet_volume::Volume;

use super::error::PreprocessError;
use super::pipeline::RawCase;
use crate::dataset::{Case, ImageReader};
use nnunet_base::progress::{Event, Progress};

/// Largest label: segmentations are stored in 16 bits.
const LARGEST_LABEL: i16 = i16::MAX;

/// Reads the images of a case and, if it has one, its segmentation. What is unusual about the files
/// is reported as warnings.
pub fn read_case(
    reader: ImageReader,
    case: &Case,
    progress: &dyn Progress,
) -> Result<RawCase, PreprocessError> {
    let images = reader.read_images(&case.identifier, &case.images)?;
    for warning in &images.warnings {
        progress.event(Event::Warning(&warning.to_string()));
    }
    let segmentation = case.label.as_deref().map(|path| read_labels(reader, path)).transpose()?;
    Ok(RawCase {
        identifier: case.identifier.clone(),
        images: images.data,
        geometry: images.geometry,
        segmentation,
    })
}

/// Reads a segmentation. Labels may be stored as floating-point numbers, but must be whole.
pub fn read_labels(reader: ImageReader, path: &Path) -> Result<Volume<i16>, PreprocessError> {
    let image = reader.read(path)?;
    let shape = image.volume.shape();
    let mut labels = Vec::with_capacity(image.volume.data().len());
    for (i, &value) in image.volume.data().iter().enumerate() {
        let label = value as i16;
        if f32::from(label) != value || label < 0 {
            return Err(PreprocessError::NotLabels {
                path: path.to_owned(),
                index: [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]],
                value,
                largest: LARGEST_LABEL,
            });
        }
        labels.push(label);
    }
    match Volume::new(shape, labels) {
        Some(labels) => Ok(labels),
        None => unreachable!("as many labels as voxels"),
    }
}

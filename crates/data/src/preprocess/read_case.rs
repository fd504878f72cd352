//! Reading a case's files for preprocessing.

use std::path::Path;

use nnunet_volume::Volume;

use super::error::PreprocessError;
use super::pipeline::RawCase;
use nnunet_base::progress::{Event, Progress};
use nnunet_dataset::{Case, ImageReader, LabelManager, LabelledImage, Problem};

/// Largest label: segmentations are stored in 16 bits.
const LARGEST_LABEL: i16 = i16::MAX;

/// Reads the images of a case and, if it has one, its segmentation. What is unusual about the files
/// is reported as warnings, but for missing spacing files: see
/// [`warn_of_missing_spacing_files`](nnunet_dataset::warn_of_missing_spacing_files).
pub fn read_case(
    reader: &ImageReader,
    case: &Case,
    progress: &dyn Progress,
) -> Result<RawCase, PreprocessError> {
    let images = reader.read_case_images(case)?;
    for warning in images.warnings_of_their_own() {
        progress.event(Event::Warning(&warning.to_string()));
    }
    let mut raw = RawCase {
        identifier: case.identifier.clone(),
        images: images.data,
        geometry: images.geometry,
        segmentation: None,
        absent: case.absent.clone(),
    };
    if let Some(label) = &case.label {
        raw.segmentation = Some(read_labels_of_case(reader, label, case, &raw, progress)?);
    }
    Ok(raw)
}

/// Reads a segmentation of a case, whose images were read into `raw`. Warnings are as in [`read_labels`].
pub fn read_labels_of_case(
    reader: &ImageReader,
    path: &Path,
    case: &Case,
    raw: &RawCase,
    progress: &dyn Progress,
) -> Result<Volume<i16>, PreprocessError> {
    let image = LabelledImage {
        path: case.images.first().map_or(Path::new(""), |path| path),
        shape: raw.images.shape(),
        geometry: &raw.geometry,
    };
    read_labels(reader, path, image, progress)
}

/// Warns of labels in the segmentation `path` that its dataset does not declare.
pub fn warn_of_undeclared(
    path: &Path,
    segmentation: &Volume<i16>,
    labels: &LabelManager,
    progress: &dyn Progress,
) {
    let found = labels.undeclared(segmentation.data());
    if !found.is_empty() {
        let problem = Problem::unexpected_labels(&found, &labels.declared());
        progress.event(Event::Warning(&format!("{}: {problem}", path.display())));
    }
}

/// Reads a segmentation of `image`. Labels may be stored as floating-point numbers, but must be whole. Voxels that were
/// no numbers and another place than the image's are warnings.
pub fn read_labels(
    reader: &ImageReader,
    path: &Path,
    image: LabelledImage<'_>,
    progress: &dyn Progress,
) -> Result<Volume<i16>, PreprocessError> {
    let read = reader.read(path)?;
    let shape = read.volume.shape();
    let mut labels = Vec::with_capacity(read.volume.data().len());
    for (i, &value) in read.volume.data().iter().enumerate() {
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
    for warning in image.warnings(path, &read) {
        progress.event(Event::Warning(&warning.to_string()));
    }
    match Volume::new(shape, labels) {
        Some(labels) => Ok(labels),
        None => unreachable!("as many labels as voxels"),
    }
}

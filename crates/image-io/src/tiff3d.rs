//! Volumes in TIFF as nnU-Net's Tiff3DIO has them: one page a slice, the spacing in a JSON file beside it.
//!
//! `{"spacing": [z, y, x]}` in mm; the file of `case_0000.tif` is `case.json`, that of a segmentation `case.tif` is
//! `case.json`. Without one the spacing is 1, with a warning. Metadata within the TIFF is not looked at. As `tifffile` shapes them, a
//! single page of several samples per pixel is a volume too: planes first if it stores planes, else samples last.
//! Voxels that are NaN or infinite stay, with a warning.

use std::path::{Path, PathBuf};

use super::labels::StoredLabels;
use super::tiff::{self, TiffArray, TiffShape};
use crate::write_file;
use crate::{Image, ImageWarning};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, SpacingMm, Volume};

/// Which file beside an image has its spacing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// An image with a channel number: `case_0000.tif` and `case.json`.
    Channel,
    /// A segmentation: `case.tif` and `case.json`.
    Segmentation,
}

/// The JSON file with the spacing of the TIFF `path`.
pub fn spacing_file(path: &Path, naming: Naming) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let cut = if naming == Naming::Channel { stem.chars().count().saturating_sub(5) } else { usize::MAX };
    let case: String = stem.chars().take(cut).collect();
    path.with_file_name(format!("{case}.json"))
}

/// Reads the volume in `path` and its spacing.
///
/// # Errors
/// Not a TIFF, a flat image, pages of different shapes, fewer bits than eight, damaged data, a spacing file that does
/// not hold three lengths.
pub fn read(path: impl AsRef<Path>, naming: Naming) -> Result<Image> {
    let path = path.as_ref();
    let spacing_file = spacing_file(path, naming);
    let spacing = read_spacing(&spacing_file)?;
    let [z, y, x] = spacing.unwrap_or(SpacingMm::UNIT).along_axes();
    let TiffArray { shape, values, stored_type, mut warnings } = tiff::read(path)?;
    if spacing.is_none() {
        warnings.push(no_spacing_file(path, spacing_file));
    }
    let shape = volume_shape(path, shape)?;
    let expected = shape.iter().product::<usize>() as u64;
    let found = format!("there are {} values", values.len());
    let volume = Volume::new(shape, values).ok_or_else(|| VolumeError::Truncated {
        path: path.to_owned(),
        expected,
        found,
    })?;
    Ok(Image { volume, geometry: Geometry::with_spacing([x, y, z]), stored_type, scaled: false, warnings })
}

/// The warning about the spacing of the volume in `path` where the file that should have it does not exist.
pub fn missing_spacing_file(path: &Path, naming: Naming) -> Option<ImageWarning> {
    let expected = spacing_file(path, naming);
    (!expected.exists()).then(|| no_spacing_file(path, expected))
}

fn no_spacing_file(path: &Path, expected: PathBuf) -> ImageWarning {
    let similar = similar_spacing_file(path).filter(|similar| *similar != expected);
    ImageWarning::NoSpacingFile { expected, similar }
}

/// A JSON file of the same name as `path`, with or without the number of the channel, that may be meant for its spacing.
fn similar_spacing_file(path: &Path) -> Option<PathBuf> {
    let candidates = [Naming::Segmentation, Naming::Channel].map(|naming| spacing_file(path, naming));
    candidates.into_iter().find(|file| file.is_file())
}

/// The spacing (z, y, x) in the JSON file `path`, `None` if there is no such file.
fn read_spacing(path: &Path) -> Result<Option<SpacingMm>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(VolumeError::io(path, "read it", e)),
    };
    let bad = |found: String| VolumeError::BadHeader {
        path: path.to_owned(),
        field: "spacing".into(),
        found,
        expected: "three lengths above 0 in mm, along (z, y, x)".into(),
        advice: "Write it as {\"spacing\": [z, y, x]}.",
    };
    // Python writes NaN and Infinity into what it calls JSON.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        let beginning: String = text.trim().chars().take(100).collect();
        bad(format!("no valid JSON ({error}): {beginning}"))
    })?;
    let numbers: Option<Vec<f64>> =
        value["spacing"].as_array().and_then(|list| list.iter().map(serde_json::Value::as_f64).collect());
    let spacing =
        numbers.and_then(|n| n.try_into().ok()).map(SpacingMm::new).filter(|spacing| spacing.is_valid());
    spacing.map(Some).ok_or_else(|| {
        bad(value.get("spacing").map_or_else(|| "missing".to_owned(), serde_json::Value::to_string))
    })
}

/// Shape (z, y, x) of the volume in a file.
fn volume_shape(path: &Path, shape: TiffShape) -> Result<[usize; 3]> {
    match shape {
        TiffShape::Stack(shape) => Ok(shape),
        TiffShape::Flat([height, width]) => Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("a flat image of {width} x {height}"),
            expected: "a volume of several pages",
            advice: "Name NaturalImage2DIO as the dataset's reader.",
        }),
    }
}

/// Reads only what the headers say: shape (z, y, x) and spacing (z, y, x) in mm.
///
/// # Errors
/// As [`read`], except for what only the voxels can show.
pub fn read_shape_and_spacing(path: impl AsRef<Path>, naming: Naming) -> Result<([usize; 3], SpacingMm)> {
    let path = path.as_ref();
    let spacing = read_spacing(&spacing_file(path, naming))?.unwrap_or(SpacingMm::UNIT);
    Ok((volume_shape(path, tiff::read_shape(path)?)?, spacing))
}

/// Writes a label volume (u8 if every label is below 255, else u16), and its spacing (z, y, x) in mm beside it.
///
/// # Errors
/// A label above 65535; what the operating system refuses.
pub fn write_labels<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    spacing_zyx: SpacingMm,
) -> Result<()> {
    let path = path.as_ref();
    write_stored(path, &StoredLabels::new(path, labels)?, spacing_zyx)
}

/// Writes labels, and their spacing (z, y, x) in mm beside them.
///
/// # Errors
/// What the operating system refuses.
pub fn write_stored(path: &Path, labels: &StoredLabels, spacing_zyx: SpacingMm) -> Result<()> {
    match labels {
        StoredLabels::U8(labels) => tiff::write(path, labels, true),
        StoredLabels::U16(labels) => tiff::write(path, labels, true),
    }?;
    let text = format!(
        "{{\n    \"spacing\": [\n        {:?},\n        {:?},\n        {:?}\n    ]\n}}",
        spacing_zyx[0], spacing_zyx[1], spacing_zyx[2]
    );
    write_file(&spacing_file(path, Naming::Segmentation), |file| {
        std::io::Write::write_all(file, text.as_bytes())
    })
}

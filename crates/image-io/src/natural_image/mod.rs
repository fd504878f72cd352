//! Photographs and microscopy: PNG, BMP and flat TIFF, with the values that nnU-Net's NaturalImage2DIO (scikit-image)
//! reads.
//!
//! Colour channels become channels; there is no spacing, so it is 1 mm in the plane (and 999 across, as nnU-Net has
//! it). Lossy formats are not read: a segmentation would suffer.

mod bmp;
mod png;
mod tiff;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::labels::StoredLabels;
use super::voxels::StoredVoxel;
use crate::{ChannelImage, VoxelType};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{ChannelVolume, Geometry, Volume};

/// Largest side of an image.
const MAX_SIDE: usize = 1 << 20;

/// Pixels as decoded: values of a pixel side by side.
struct Pixels {
    width: usize,
    height: usize,
    channels: usize,
    values: Vec<f32>,
    stored_type: VoxelType,
}

/// Formats, told apart by content.
enum Format {
    Png,
    Bmp,
    Tiff,
}

impl Format {
    fn of(path: &Path, start: &[u8]) -> Result<Self> {
        match start {
            [0x89, b'P', b'N', b'G', ..] => Ok(Self::Png),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            _ => Err(VolumeError::NotThisFormat {
                path: path.to_owned(),
                format: "PNG, BMP or TIFF",
                found: "it begins otherwise".into(),
            }),
        }
    }
}

/// Channels and shape (1, y, x) of the image in `path`; of PNG and TIFF files from the header alone.
///
/// # Errors
/// As [`read`].
pub fn read_shape(path: impl AsRef<Path>) -> Result<(usize, [usize; 3])> {
    let path = path.as_ref();
    let failed = |e| VolumeError::io(path, "read it", e);
    let mut file = BufReader::new(File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?);
    let [channels, height, width] = match Format::of(path, file.fill_buf().map_err(failed)?)? {
        Format::Png => png::read_shape(path, file)?,
        Format::Bmp => {
            let Pixels { width, height, channels, .. } =
                bmp::decode(path, &std::fs::read(path).map_err(failed)?)?;
            [channels, height, width]
        }
        Format::Tiff => tiff::read_shape(path)?,
    };
    Ok((channels, [1, height, width]))
}

/// Reads the PNG, BMP or TIFF image in `path` (told apart by content): grey (1 channel), RGB (3) or RGBA (4).
///
/// Black-and-white images have the values 0 and 1, palettes are resolved to RGB, colours of 16 bits are cut to 8,
/// transparency keys are ignored: as in the reference.
///
/// # Errors
/// Another format, damaged data, grey with alpha, sizes that the file cannot hold.
pub fn read(path: impl AsRef<Path>) -> Result<ChannelImage> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| VolumeError::io(path, "read it", e))?;
    let pixels = match Format::of(path, &bytes)? {
        Format::Png => png::decode(path, &bytes)?,
        Format::Bmp => bmp::decode(path, &bytes)?,
        Format::Tiff => return tiff::read(path),
    };
    let Pixels { width, height, channels, values, stored_type } = pixels;
    let planar: Vec<f32> = if channels == 1 {
        values
    } else {
        (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels).copied()).collect()
    };
    let expected = (width * height * channels) as u64;
    let found = format!("there are {} values", planar.len());
    let channels = ChannelVolume::new(channels, [1, height, width], planar)
        .ok_or_else(|| VolumeError::Truncated { path: path.to_owned(), expected, found })?;
    let geometry = Geometry::flat([1.0; 2], [0.0; 2], [1., 0., 0., 1.]);
    Ok(ChannelImage { channels, geometry, stored_type, warnings: Vec::new() })
}

fn write<T: StoredVoxel>(path: &Path, volume: &Volume<T>) -> Result<()> {
    let [slices, height, width] = volume.shape();
    if slices != 1 {
        return Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("a volume of {slices} slices"),
            expected: "a flat image",
            advice: "Write it as .nii.gz or .tif.",
        });
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("bmp")) {
        return bmp::write(path, width, height, volume.data());
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff")) {
        return super::tiff::write(path, volume, false);
    }
    png::write(path, width, height, volume.data())
}

/// Writes a flat label image as PNG, or as BMP or TIFF if the name ends so: grey of 8 bits if every label is below
/// 255, else of 16 bits.
///
/// # Errors
/// More than one slice; a label above 65535, or above 254 in a BMP; what the operating system refuses.
pub fn write_labels<L: Copy + Into<u32>>(path: impl AsRef<Path>, labels: &Volume<L>) -> Result<()> {
    let path = path.as_ref();
    write_stored(path, &StoredLabels::new(path, labels)?)
}

/// The same for labels in the type in which they are stored.
///
/// # Errors
/// As [`write_labels`].
pub fn write_stored(path: &Path, labels: &StoredLabels) -> Result<()> {
    match labels {
        StoredLabels::U8(labels) => write(path, labels),
        StoredLabels::U16(labels) => write(path, labels),
    }
}

/// Refuses sizes that no image has.
fn check_sides(path: &Path, width: usize, height: usize) -> Result<()> {
    if (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) {
        return Ok(());
    }
    Err(VolumeError::BadHeader {
        path: path.to_owned(),
        field: "the size".into(),
        found: format!("{width} x {height} pixels"),
        expected: format!("1 to {MAX_SIDE} along each side"),
        advice: "The file is damaged: export it again.",
    })
}

/// Resolves `count` palette indices to RGB.
fn with_palette(path: &Path, indices: impl Iterator<Item = u8>, palette: &[[u8; 3]]) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    for index in indices {
        let colour = palette.get(usize::from(index)).ok_or_else(|| VolumeError::BadHeader {
            path: path.to_owned(),
            field: "a pixel".into(),
            found: format!("colour {index}"),
            expected: format!("one of the palette's {} colours", palette.len()),
            advice: "The file is damaged: export it again.",
        })?;
        out.extend(colour.map(f32::from));
    }
    Ok(out)
}

/// Values of `bits` bits (1, 2, 4 or 8) in `row`, high bits first.
fn unpack(row: &[u8], bits: usize, count: usize) -> impl Iterator<Item = u8> + '_ {
    let mask = ((1u16 << bits) - 1) as u8;
    (0..count).map(move |i| {
        let at = i * bits;
        (row[at / 8] >> (8 - bits - at % 8)) & mask
    })
}

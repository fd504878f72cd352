//! Volumes in TIFF as nnU-Net's Tiff3DIO has them: one page a slice, the spacing in a JSON file beside it.
//!
//! `{"spacing": [z, y, x]}` in mm; the file of `case_0000.tif` is `case.json`, that of a segmentation `case.tif` is
//! `case.json`. Without one the spacing is 1. Metadata within the TIFF is not looked at. As `tifffile` shapes them, a
//! single page of several samples per pixel is a volume too: planes first if it stores planes, else samples last.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{Gray8, Gray16};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder};
use tiff::tags::Tag;

use super::labels::{self, WriteVolume};
use super::voxels::{StoredVoxel, check_room};
use crate::atomic_file::write_atomically;
use crate::error::{Result, VolumeError};
use crate::{Geometry, Image, ImageWarning, Volume, VoxelType};

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
    let [z, y, x] = read_spacing(&spacing_file(path, naming))?.unwrap_or([1.0; 3]);
    let Pages { shape, mut values, stored_type } = read_pages(path)?;
    let mut warnings = Vec::new();
    let mut count = 0;
    for v in values.iter_mut().filter(|v| !v.is_finite()) {
        *v = 0.0;
        count += 1;
    }
    if count > 0 {
        warnings.push(ImageWarning::NonFiniteVoxels { count });
    }
    let expected = shape.iter().product::<usize>() as u64;
    let found = format!("there are {} values", values.len());
    let volume = Volume::new(shape, values).ok_or_else(|| VolumeError::Truncated {
        path: path.to_owned(),
        expected,
        found,
    })?;
    Ok(Image { volume, geometry: Geometry::with_spacing([x, y, z]), stored_type, scaled: false, warnings })
}

/// The spacing (z, y, x) in the JSON file `path`, `None` if there is no such file.
fn read_spacing(path: &Path) -> Result<Option<[f64; 3]>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(VolumeError::io(path, "read it", e)),
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let numbers: Option<Vec<f64>> = value["spacing"]
        .as_array()
        .and_then(|list| list.iter().map(|v| v.as_f64().filter(|v| v.is_finite() && *v > 0.0)).collect());
    let spacing = numbers.and_then(|n| <[f64; 3]>::try_from(n).ok());
    spacing.map(Some).ok_or_else(|| VolumeError::BadHeader {
        path: path.to_owned(),
        field: "spacing".into(),
        found: value["spacing"].to_string(),
        expected: "three lengths above 0 in mm, along (z, y, x)".into(),
        advice: "Write it as {\"spacing\": [z, y, x]}.",
    })
}

struct Pages {
    shape: [usize; 3],
    values: Vec<f32>,
    stored_type: VoxelType,
}

fn read_pages(path: &Path) -> Result<Pages> {
    let file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
    let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
    let unsupported = |found: String, expected: &'static str| VolumeError::Unsupported {
        path: path.to_owned(),
        found,
        expected,
        advice: "Convert it to a TIFF with one page a slice, or to .nii.gz.",
    };
    let fault = |e: TiffError| match e {
        TiffError::FormatError(e) => {
            VolumeError::NotThisFormat { path: path.to_owned(), format: "TIFF", found: e.to_string() }
        }
        TiffError::UnsupportedError(e) => unsupported(e.to_string(), "one integer or real number per voxel"),
        e => VolumeError::DamagedCompression { path: path.to_owned(), source: std::io::Error::other(e) },
    };
    let mut decoder = Decoder::new(BufReader::with_capacity(1 << 17, file)).map_err(fault)?;
    let mut values: Vec<f32> = Vec::new();
    let mut first: Option<(usize, usize, VoxelType)> = None;
    let mut pages = 0usize;
    let mut bytes = 0u64;
    let samples = loop {
        let (width, height) = decoder.dimensions().map_err(fault)?;
        let layout = decoder.image_buffer_layout().map_err(fault)?;
        bytes = bytes.saturating_add(layout.complete_len as u64);
        // What all pages together claim is compared with the file before this one is decoded.
        check_room(path, bytes, file_len, true)?;
        let mut limits = Limits::default();
        limits.decoding_buffer_size = layout.complete_len.max(1 << 20);
        limits.intermediate_buffer_size = layout.complete_len.max(1 << 20);
        decoder = decoder.with_limits(limits);
        let mut page = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut page).map_err(fault)?;
        let (width, height) = (width as usize, height as usize);
        let (length, stored_type) = append(&mut values, page);
        if length == 0 || length % (width * height) != 0 {
            return Err(unsupported("a packed or subsampled image".into(), "whole bytes per value"));
        }
        let (w, h, t) = *first.get_or_insert((width, height, stored_type));
        if (w, h, t) != (width, height, stored_type) {
            return Err(unsupported(
                format!("page {pages} of {width} x {height} after pages of {w} x {h}"),
                "pages of one size and type",
            ));
        }
        let samples = (length / (width * height), layout.planes > 1);
        pages += 1;
        if samples.0 > 1 && (pages > 1 || decoder.more_images()) {
            return Err(unsupported("a stack of colour images".into(), "one value per voxel"));
        }
        if !decoder.more_images() {
            break samples;
        }
        decoder.next_image().map_err(fault)?;
    };
    let (width, height, stored_type) = first.unwrap_or((0, 0, VoxelType::U8));
    let shape = match samples {
        (1, _) if pages > 1 => [pages, height, width],
        (1, _) => {
            // A flat image, unless the writer noted that it is a volume of one slice.
            let note = decoder.get_tag_ascii_string(Tag::ImageDescription).unwrap_or_default();
            let note: serde_json::Value =
                serde_json::from_str(note.trim_end_matches('\0')).unwrap_or_default();
            if note["shape"] != serde_json::json!([1, height, width]) {
                return Err(unsupported(
                    format!("a flat image of {width} x {height}"),
                    "a volume of several pages",
                ));
            }
            [1, height, width]
        }
        (n, true) => [n, height, width],
        (n, false) => [height, width, n],
    };
    Ok(Pages { shape, values, stored_type })
}

/// Appends the values of a page; how many there were, and their type.
fn append(out: &mut Vec<f32>, page: DecodingResult) -> (usize, VoxelType) {
    macro_rules! all {
        ($values:expr, $kind:ident) => {{
            out.extend($values.iter().map(|&v| v as f32));
            ($values.len(), VoxelType::$kind)
        }};
    }
    match page {
        DecodingResult::U8(v) => all!(v, U8),
        DecodingResult::U16(v) => all!(v, U16),
        DecodingResult::U32(v) => all!(v, U32),
        DecodingResult::U64(v) => all!(v, U64),
        DecodingResult::I8(v) => all!(v, I8),
        DecodingResult::I16(v) => all!(v, I16),
        DecodingResult::I32(v) => all!(v, I32),
        DecodingResult::I64(v) => all!(v, I64),
        DecodingResult::F32(v) => all!(v, F32),
        DecodingResult::F64(v) => all!(v, F64),
        DecodingResult::F16(v) => {
            out.extend(v.iter().map(|v| v.to_f32()));
            (v.len(), VoxelType::F32)
        }
    }
}

struct Writer<'a>(&'a Path);

impl WriteVolume for Writer<'_> {
    fn write<T: StoredVoxel>(&self, volume: &Volume<T>) -> Result<()> {
        let [_, height, width] = volume.shape();
        let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
        let (width, height) =
            sides.filter(|(w, h)| *w > 0 && *h > 0).ok_or_else(|| VolumeError::Unsupported {
                path: self.0.to_owned(),
                found: format!("slices of {width} x {height}"),
                expected: "1 to 4294967295 voxels along each side",
                advice: "Write it as .nii.gz.",
            })?;
        let page_size = width as usize * height as usize;
        write_atomically(self.0, |file| {
            let other = std::io::Error::other::<TiffError>;
            let encoder = TiffEncoder::new(file).map_err(other)?;
            let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Balanced));
            let mut raw = Vec::with_capacity(size_of::<T>() * page_size);
            let single = volume.shape()[0] == 1;
            for page in volume.data().chunks_exact(page_size) {
                raw.clear();
                page.iter().for_each(|v| v.encode(&mut raw));
                // The note by which readers know a volume of one slice from a flat image.
                let note = format!("{{\"shape\": [1, {height}, {width}]}}");
                if size_of::<T>() == 2 {
                    let words: Vec<u16> =
                        raw.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
                    let mut image = encoder.new_image::<Gray16>(width, height).map_err(other)?;
                    if single {
                        image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                    }
                    image.write_data(&words).map_err(other)?;
                } else {
                    let mut image = encoder.new_image::<Gray8>(width, height).map_err(other)?;
                    if single {
                        image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                    }
                    image.write_data(&raw).map_err(other)?;
                }
            }
            Ok(())
        })
    }
}

/// Writes a label volume (u8 if every label is below 255, else u16), and its spacing (z, y, x) in mm beside it.
///
/// # Errors
/// A label above 65535; what the operating system refuses.
pub fn write_labels<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    spacing_zyx: [f64; 3],
) -> Result<()> {
    let path = path.as_ref();
    labels::write_labels(path, labels, &Writer(path))?;
    let text = format!(
        "{{\n    \"spacing\": [\n        {:?},\n        {:?},\n        {:?}\n    ]\n}}",
        spacing_zyx[0], spacing_zyx[1], spacing_zyx[2]
    );
    write_atomically(&spacing_file(path, Naming::Segmentation), |file| {
        std::io::Write::write_all(file, text.as_bytes())
    })
}

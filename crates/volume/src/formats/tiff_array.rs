//! The array in a TIFF file, shaped as `tifffile` shapes it: what flat pictures and volumes of pages share.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{Gray8, Gray16};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder};
use tiff::tags::Tag;

use super::voxels::{StoredVoxel, check_room};
use crate::error::{Result, VolumeError};
use crate::formats::write_file;
use crate::{Volume, VoxelType};

/// Shape of the array in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TiffShape {
    /// One page of one value per pixel: (height, width).
    Flat([usize; 2]),
    /// Pages of one value per pixel, (pages, height, width); or one page of several samples per pixel: planes first
    /// if it stores planes, (samples, height, width), else samples last, (height, width, samples).
    Stack([usize; 3]),
}

/// The array in a file, C order.
pub(super) struct TiffArray {
    pub(super) shape: TiffShape,
    pub(super) values: Vec<f32>,
    pub(super) stored_type: VoxelType,
}

/// What one page says of itself.
struct Page {
    width: usize,
    height: usize,
    samples: usize,
    planar: bool,
}

fn unsupported(path: &Path, found: String, expected: &'static str) -> VolumeError {
    VolumeError::Unsupported {
        path: path.to_owned(),
        found,
        expected,
        advice: "Convert it to a TIFF with one page a slice, or to .nii.gz.",
    }
}

fn fault(path: &Path, error: TiffError) -> VolumeError {
    match error {
        TiffError::FormatError(e) => {
            VolumeError::NotThisFormat { path: path.to_owned(), format: "TIFF", found: e.to_string() }
        }
        TiffError::UnsupportedError(e) => {
            unsupported(path, e.to_string(), "one integer or real number per voxel")
        }
        e => VolumeError::DamagedCompression { path: path.to_owned(), source: std::io::Error::other(e) },
    }
}

/// The pages of an open file, one after the other.
struct Pages<'a> {
    path: &'a Path,
    decoder: Decoder<BufReader<File>>,
    file_len: u64,
    /// What all pages so far claim.
    bytes: u64,
}

impl<'a> Pages<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        let decoder = Decoder::new(BufReader::with_capacity(1 << 17, file)).map_err(|e| fault(path, e))?;
        Ok(Self { path, decoder, file_len, bytes: 0 })
    }

    /// The current page, its claims compared with the file. The decoder may take as much memory as it needs.
    fn page(mut self) -> Result<(Self, Page)> {
        let path = self.path;
        let (width, height) = self.decoder.dimensions().map_err(|e| fault(path, e))?;
        let layout = self.decoder.image_buffer_layout().map_err(|e| fault(path, e))?;
        let bits = usize::from(self.decoder.colortype().map_err(|e| fault(path, e))?.bit_depth());
        let (width, height) = (width as usize, height as usize);
        self.bytes = self.bytes.saturating_add(layout.complete_len as u64);
        check_room(path, self.bytes, self.file_len, true)?;
        let pixels = width.saturating_mul(height);
        let values = layout.complete_len / (bits / 8).max(1);
        if bits % 8 != 0 || values == 0 || pixels == 0 || values % pixels != 0 {
            return Err(unsupported(path, "a packed or subsampled image".into(), "whole bytes per value"));
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = layout.complete_len.max(1 << 20);
        limits.intermediate_buffer_size = layout.complete_len.max(1 << 20);
        self.decoder = self.decoder.with_limits(limits);
        let page = Page { width, height, samples: values / pixels, planar: layout.planes > 1 };
        Ok((self, page))
    }

    /// Goes through all pages; `visit` may decode the one it is called at. Pages must be alike.
    fn shape(
        self,
        mut visit: impl FnMut(&mut Decoder<BufReader<File>>, &Page) -> Result<()>,
    ) -> Result<TiffShape> {
        let path = self.path;
        let (mut this, first) = self.page()?;
        visit(&mut this.decoder, &first)?;
        let mut pages = 1;
        while this.decoder.more_images() {
            if first.samples > 1 {
                return Err(unsupported(path, "a stack of colour images".into(), "one value per voxel"));
            }
            this.decoder.next_image().map_err(|e| fault(path, e))?;
            let page;
            (this, page) = this.page()?;
            if (page.width, page.height, page.samples) != (first.width, first.height, 1) {
                let Page { width, height, .. } = page;
                let found = format!(
                    "page {pages} of {width} x {height} after pages of {} x {}",
                    first.width, first.height
                );
                return Err(unsupported(path, found, "pages of one size and type"));
            }
            visit(&mut this.decoder, &page)?;
            pages += 1;
        }
        let Page { width, height, samples, planar } = first;
        Ok(match (samples, planar) {
            (1, _) if pages > 1 => TiffShape::Stack([pages, height, width]),
            (1, _) if this.is_noted_as_volume(height, width) => TiffShape::Stack([1, height, width]),
            (1, _) => TiffShape::Flat([height, width]),
            (n, true) => TiffShape::Stack([n, height, width]),
            (n, false) => TiffShape::Stack([height, width, n]),
        })
    }

    /// Whether the writer noted that its only page is a volume of one slice.
    fn is_noted_as_volume(&mut self, height: usize, width: usize) -> bool {
        let note = self.decoder.get_tag_ascii_string(Tag::ImageDescription).unwrap_or_default();
        let note: serde_json::Value = serde_json::from_str(note.trim_end_matches('\0')).unwrap_or_default();
        note["shape"] == serde_json::json!([1, height, width])
    }
}

/// Reads the array in `path`.
pub(super) fn read(path: &Path) -> Result<TiffArray> {
    let mut values: Vec<f32> = Vec::new();
    let mut stored_type = None;
    let shape = Pages::open(path)?.shape(|decoder, page| {
        let mut decoded = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut decoded).map_err(|e| fault(path, e))?;
        let (length, kind) = append(&mut values, decoded);
        if length != page.width * page.height * page.samples {
            let found = format!("{length} values of {} x {} pixels", page.width, page.height);
            return Err(unsupported(path, found, "whole pages"));
        }
        if *stored_type.get_or_insert(kind) != kind {
            return Err(unsupported(path, "pages of different types".into(), "pages of one size and type"));
        }
        Ok(())
    })?;
    Ok(TiffArray { shape, values, stored_type: stored_type.unwrap_or(VoxelType::U8) })
}

/// The shape of the array in `path`, without decoding it.
pub(super) fn read_shape(path: &Path) -> Result<TiffShape> {
    Pages::open(path)?.shape(|_, _| Ok(()))
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

/// Writes `volume` (8 or 16 bits a voxel) page by page. `as_volume`: a single page is marked as a volume of one slice.
pub(super) fn write<T: StoredVoxel>(path: &Path, volume: &Volume<T>, as_volume: bool) -> Result<()> {
    let [_, height, width] = volume.shape();
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (width, height) =
        sides.filter(|(w, h)| *w > 0 && *h > 0).ok_or_else(|| VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("slices of {width} x {height}"),
            expected: "1 to 4294967295 voxels along each side",
            advice: "Write it as .nii.gz.",
        })?;
    let page_size = width as usize * height as usize;
    write_file(path, |file| {
        let other = std::io::Error::other::<TiffError>;
        let encoder = TiffEncoder::new(file).map_err(other)?;
        let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Balanced));
        let mut raw = Vec::with_capacity(size_of::<T>() * page_size);
        let noted = as_volume && volume.shape()[0] == 1;
        for page in volume.data().chunks_exact(page_size) {
            raw.clear();
            page.iter().for_each(|v| v.encode(&mut raw));
            // The note by which readers know a volume of one slice from a flat image.
            let note = format!("{{\"shape\": [1, {height}, {width}]}}");
            if size_of::<T>() == 2 {
                let words: Vec<u16> = raw.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
                let mut image = encoder.new_image::<Gray16>(width, height).map_err(other)?;
                if noted {
                    image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                }
                image.write_data(&words).map_err(other)?;
            } else {
                let mut image = encoder.new_image::<Gray8>(width, height).map_err(other)?;
                if noted {
                    image.encoder().write_tag(Tag::ImageDescription, &note[..]).map_err(other)?;
                }
                image.write_data(&raw).map_err(other)?;
            }
        }
        Ok(())
    })
}

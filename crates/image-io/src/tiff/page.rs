//! One page: what its directory says of the pixels, and reading them.

use super::compression::Compression;
use super::directory::{Directory, TiffFile, tag};
use super::values::SampleType;
use super::{not_tiff, unsupported};
use nnunet_volume::error::{Result, VolumeError};

/// Most samples of a pixel.
const MAX_SAMPLES: u64 = 1 << 16;

/// A page. Its pixels are in strips (tiles of the page's width) or tiles, all of one size, those at the right and lower
/// border of a page reaching beyond it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Values of a pixel.
    pub(super) samples: usize,
    /// Whether all first values come first, then all second ones.
    pub(super) planar: bool,
    pub(super) sample_type: SampleType,
    pub(super) compression: Compression,
    pub(super) predictor: u64,
    pub(super) photometric: u64,
    pub(super) low_bits_first: bool,
    pub(super) jpeg_tables: Vec<u8>,
    pub(super) chunk_width: usize,
    pub(super) chunk_height: usize,
    tiled: bool,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

impl Page {
    pub(super) fn of(file: &mut TiffFile<'_>, directory: &Directory) -> Result<Self> {
        let path = file.path;
        let width = file.number_of(directory, tag::WIDTH, 0)?;
        let height = file.number_of(directory, tag::HEIGHT, 0)?;
        let samples = file.number_of(directory, tag::SAMPLES_PER_PIXEL, 1)?;
        if width == 0 || height == 0 || width.max(height) > 1 << 31 || !(1..=MAX_SAMPLES).contains(&samples) {
            let found = format!("a page of {width} x {height} pixels with {samples} values each");
            return Err(not_tiff(path, found));
        }
        let bits = file.numbers(directory, tag::BITS_PER_SAMPLE)?;
        let formats = file.numbers(directory, tag::SAMPLE_FORMAT)?;
        let (bit, format) = (bits.first().copied().unwrap_or(1), formats.first().copied().unwrap_or(1));
        let alike = bits.iter().all(|b| *b == bit) && formats.iter().all(|f| *f == format);
        let sample_type = SampleType::of(format, bit).filter(|_| alike).ok_or_else(|| {
            let found = format!("an image of {bits:?} bits in sample format {formats:?}");
            unsupported(path, found, "integers, or real numbers of 16, 32 or 64 bits, one type for all")
        })?;
        let code = file.number_of(directory, tag::COMPRESSION, 1)?;
        let compression = Compression::of(code).map_err(|found| {
            unsupported(path, found, "no compression, LZW, deflate, PackBits, Zstandard or JPEG")
        })?;
        let photometric = file.number_of(directory, tag::PHOTOMETRIC, 1)?;
        let tiled = directory.has(tag::TILE_OFFSETS);
        let (offsets, lengths) =
            if tiled { (tag::TILE_OFFSETS, tag::TILE_BYTES) } else { (tag::STRIP_OFFSETS, tag::STRIP_BYTES) };
        let (chunk_width, chunk_height) = if tiled {
            let height = file.number_of(directory, tag::TILE_HEIGHT, 0)?;
            (file.number_of(directory, tag::TILE_WIDTH, 0)?, height)
        } else {
            (width, file.number_of(directory, tag::ROWS_PER_STRIP, height)?.min(height))
        };
        if chunk_width == 0 || chunk_height == 0 || chunk_width.max(chunk_height) > 1 << 31 {
            return Err(not_tiff(path, format!("strips or tiles of {chunk_width} x {chunk_height} pixels")));
        }
        let page = Self {
            width: width as usize,
            height: height as usize,
            samples: samples as usize,
            planar: samples > 1 && file.number_of(directory, tag::PLANAR, 1)? == 2,
            sample_type,
            compression,
            predictor: if compression == Compression::Jpeg {
                1
            } else {
                file.number_of(directory, tag::PREDICTOR, 1)?
            },
            photometric,
            low_bits_first: file.number_of(directory, tag::FILL_ORDER, 1)? == 2,
            jpeg_tables: file.bytes_of(directory, tag::JPEG_TABLES)?,
            chunk_width: chunk_width as usize,
            chunk_height: chunk_height as usize,
            tiled,
            offsets: file.numbers(directory, offsets)?,
            lengths: file.numbers(directory, lengths)?,
        };
        page.check(file, directory)
    }

    /// Refuses what is not read, and claims that the file cannot keep.
    fn check(mut self, file: &mut TiffFile<'_>, directory: &Directory) -> Result<Self> {
        let path = file.path;
        let subsampled = self.photometric == 6
            && self.compression != Compression::Jpeg
            && file.numbers(directory, tag::SUBSAMPLING)? != [1, 1];
        if subsampled || file.number_of(directory, tag::IMAGE_DEPTH, 1)? > 1 {
            return Err(unsupported(path, "a subsampled image or one with depth".into(), "whole pages"));
        }
        if !self.predictor_fits() {
            let found = format!("predictor {} for {} bits", self.predictor, self.sample_type.bits());
            return Err(unsupported(path, found, "predictor 1, 2 or 3 for whole bytes"));
        }
        let chunks = self.chunks();
        if self.compression == Compression::None && self.lengths.is_empty() {
            self.lengths = (0..self.offsets.len()).map(|i| self.chunk_bytes(i)).collect();
        }
        if (self.offsets.len() as u64) < chunks || (self.lengths.len() as u64) < chunks {
            let found = format!("{} of {chunks} strips or tiles", self.offsets.len().min(self.lengths.len()));
            return Err(not_tiff(path, found));
        }
        let stored = self.lengths.iter().take(chunks as usize).fold(0u64, |sum, n| sum.saturating_add(*n));
        let room = stored.min(file.len).saturating_mul(self.compression.largest_expansion());
        let expected = self.bytes();
        if expected > room {
            return Err(VolumeError::Truncated {
                path: path.to_owned(),
                expected,
                found: format!("{stored} stored bytes cannot hold more than {room}"),
            });
        }
        Ok(self)
    }

    fn across(&self) -> usize {
        self.width.div_ceil(self.chunk_width)
    }

    fn down(&self) -> usize {
        self.height.div_ceil(self.chunk_height)
    }

    /// Number of strips or tiles.
    fn chunks(&self) -> u64 {
        let planes = if self.planar { self.samples } else { 1 };
        (self.across() as u64).saturating_mul(self.down() as u64).saturating_mul(planes as u64)
    }

    /// Rows that are stored of a strip or tile: the last strip ends with the page.
    fn rows_of(&self, chunk: usize) -> usize {
        let from = chunk / self.across() % self.down() * self.chunk_height;
        if self.tiled { self.chunk_height } else { self.chunk_height.min(self.height - from) }
    }

    fn chunk_bytes(&self, chunk: usize) -> u64 {
        (self.rows_of(chunk) as u64).saturating_mul(self.chunk_row_bytes() as u64)
    }

    /// Number of values.
    pub(super) fn values(&self) -> u64 {
        (self.width as u64).saturating_mul(self.height as u64).saturating_mul(self.samples as u64)
    }

    /// Bytes of the values without compression and padding.
    pub(super) fn bytes(&self) -> u64 {
        self.values().saturating_mul(self.sample_type.bits() as u64).div_ceil(8)
    }

    /// Whether shape and type are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let key = |p: &Self| (p.width, p.height, p.samples, p.planar, p.sample_type);
        key(self) == key(other)
    }

    /// First byte of the pixels, if they lie in the file as in memory.
    pub(super) fn contiguous_from(&self) -> Option<u64> {
        let plain = self.compression == Compression::None && self.predictor == 1 && !self.low_bits_first;
        let whole = self.sample_type.bits().is_multiple_of(8) && !self.tiled;
        let first = *self.offsets.first()?;
        let mut next = first;
        let runs_on = (0..self.chunks() as usize).all(|i| {
            let fits = self.offsets[i] == next && self.lengths[i] == self.chunk_bytes(i);
            next = next.saturating_add(self.chunk_bytes(i));
            fits
        });
        (plain && whole && runs_on).then_some(first)
    }

    /// The page whose pixels are `bytes` further on in the file.
    pub(super) fn moved_by(&self, bytes: u64) -> Self {
        let offsets = self.offsets.iter().map(|at| at.saturating_add(bytes)).collect();
        Self { offsets, ..self.clone() }
    }

    /// First byte behind the pixels.
    pub(super) fn end(&self) -> u64 {
        self.offsets.iter().zip(&self.lengths).map(|(at, n)| at.saturating_add(*n)).max().unwrap_or(0)
    }

    /// Appends the values, C order: (samples, y, x) if planar, else (y, x, samples).
    pub(super) fn append(&self, file: &mut TiffFile<'_>, out: &mut Vec<f32>) -> Result<()> {
        let no_memory = |_| VolumeError::OutOfMemory { path: file.path.to_owned(), voxels: self.values() };
        let samples = self.samples_in_chunk();
        let start = out.len();
        let values = self.values() as usize;
        out.try_reserve(values).map_err(no_memory)?;
        // Strips of one plane follow one another; tiles are put into place.
        let in_order = self.across() == 1;
        if !in_order {
            out.resize(start + values, 0.0);
        }
        let mut row_values = Vec::new();
        for chunk in 0..self.chunks() as usize {
            let rows = self.rows_of(chunk);
            let stored = file.bytes(self.offsets[chunk], self.lengths[chunk])?;
            let bytes = self.expand(stored, rows, file.big_endian).map_err(|fault| {
                VolumeError::DamagedCompression {
                    path: file.path.to_owned(),
                    source: std::io::Error::other(fault),
                }
            })?;
            let (column, line) = (chunk % self.across(), chunk / self.across());
            let (plane, line) = (line / self.down(), line % self.down());
            let (left, top) = (column * self.chunk_width, line * self.chunk_height);
            let count = self.chunk_width.min(self.width - left) * samples;
            let visible = rows.min(self.height - top);
            for (y, row) in bytes.chunks_exact(self.chunk_row_bytes()).take(visible).enumerate() {
                if in_order {
                    self.sample_type.append(out, row, file.big_endian, count);
                    continue;
                }
                row_values.clear();
                self.sample_type.append(&mut row_values, row, file.big_endian, count);
                let line = plane * self.height + top + y;
                let at = start + (line * self.width + left) * samples;
                out[at..at + count].copy_from_slice(&row_values);
            }
        }
        Ok(())
    }
}

//! The directories of a TIFF file: lists of tagged values, one list a page, each with the place of the next.
//!
//! Source: TIFF 6.0, and BigTIFF with its offsets of 64 bits. Nothing is allocated on the word of a count alone: what
//! it counts must be in the file.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::not_tiff;
use nnunet_volume::error::{Result, VolumeError};

/// Tags by number.
pub(super) mod tag {
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS_PER_SAMPLE: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const DESCRIPTION: u16 = 270;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTES: u16 = 279;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTES: u16 = 325;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const SUBSAMPLING: u16 = 530;
    pub(crate) const IMAGE_DEPTH: u16 = 32997;
}

/// An open file.
pub(super) struct TiffFile<'a> {
    pub(super) path: &'a Path,
    file: BufReader<File>,
    pub(super) len: u64,
    pub(super) big_endian: bool,
    /// Offsets of 64 bits.
    large: bool,
    first: u64,
}

/// Where the values of a tag are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u16,
    count: u64,
    at: u64,
}

/// The tags of a page.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: HashMap<u16, Entry>,
    /// First byte behind the list of tags.
    pub(super) end: u64,
}

impl Directory {
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entries.contains_key(&tag)
    }
}

impl<'a> TiffFile<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        let file = BufReader::new(file);
        let mut this = Self { path, file, len, big_endian: false, large: false, first: 0 };
        let start = this.bytes(0, 4.min(len))?;
        this.big_endian = match start.get(..2) {
            Some(b"II") => false,
            Some(b"MM") => true,
            _ => return Err(not_tiff(path, "it does not begin with \"II\" or \"MM\"")),
        };
        this.large = match this.number(2, 2)? {
            42 => false,
            43 => true,
            version => return Err(not_tiff(path, format!("its version is {version}, expected 42 or 43"))),
        };
        this.first = if this.large { this.number(8, 8)? } else { this.number(4, 4)? };
        Ok(this)
    }

    /// All directories, in the order of the pages.
    pub(super) fn directories(&mut self) -> Result<Vec<Directory>> {
        let mut directories = Vec::new();
        let mut seen = HashSet::new();
        let mut at = self.first;
        while at != 0 {
            if !seen.insert(at) {
                return Err(not_tiff(self.path, "its directories run in a circle"));
            }
            let (directory, next) = self.directory(at)?;
            directories.push(directory);
            at = next;
        }
        Ok(directories)
    }

    fn directory(&mut self, at: u64) -> Result<(Directory, u64)> {
        let (head, size) = if self.large { (8, 20) } else { (2, 12) };
        let word = if self.large { 8 } else { 4 };
        let count = self.number(at, head)?;
        let start = at.saturating_add(head);
        let end = start.saturating_add(count.saturating_mul(size));
        let next = self.number(end, word)?;
        let bytes = self.bytes(start, end - start)?;
        let mut directory = Directory { entries: HashMap::new(), end: end + word };
        for (i, entry) in bytes.chunks_exact(size as usize).enumerate() {
            let tag = self.parse(&entry[..2]) as u16;
            let kind = self.parse(&entry[2..4]) as u16;
            let count = self.parse(&entry[4..4 + word as usize]);
            let value = 4 + word;
            let fits = count.saturating_mul(size_of_kind(kind)) <= word;
            let at =
                if fits { start + i as u64 * size + value } else { self.parse(&entry[value as usize..]) };
            directory.entries.entry(tag).or_insert(Entry { kind, count, at });
        }
        Ok((directory, next))
    }

    /// The whole numbers of a tag, none if it is not there.
    pub(super) fn numbers(&mut self, directory: &Directory, tag: u16) -> Result<Vec<u64>> {
        let Some(entry) = directory.entries.get(&tag) else { return Ok(Vec::new()) };
        let size = size_of_kind(entry.kind);
        if !matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18) {
            return Err(not_tiff(self.path, format!("tag {tag} has no whole numbers")));
        }
        let bytes = self.bytes(entry.at, entry.count.saturating_mul(size))?;
        Ok(bytes.chunks_exact(size as usize).map(|number| self.parse(number)).collect())
    }

    /// The first number of a tag, `default` if it is not there.
    pub(super) fn number_of(&mut self, directory: &Directory, tag: u16, default: u64) -> Result<u64> {
        Ok(self.numbers(directory, tag)?.first().copied().unwrap_or(default))
    }

    /// The bytes of a tag, none if it is not there.
    pub(super) fn bytes_of(&mut self, directory: &Directory, tag: u16) -> Result<Vec<u8>> {
        let Some(entry) = directory.entries.get(&tag) else { return Ok(Vec::new()) };
        self.bytes(entry.at, entry.count.saturating_mul(size_of_kind(entry.kind)))
    }

    /// `length` bytes of the file.
    pub(super) fn bytes(&mut self, at: u64, length: u64) -> Result<Vec<u8>> {
        if at.checked_add(length).is_none_or(|end| end > self.len) {
            return Err(VolumeError::Truncated {
                path: self.path.to_owned(),
                expected: at.saturating_add(length),
                found: format!("the file ends after {}", self.len),
            });
        }
        let mut bytes = vec![0; length as usize];
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|e| VolumeError::io(self.path, "read it", e))?;
        Ok(bytes)
    }

    fn number(&mut self, at: u64, size: u64) -> Result<u64> {
        let bytes = self.bytes(at, size)?;
        Ok(self.parse(&bytes))
    }

    /// A whole number of up to eight bytes.
    fn parse(&self, bytes: &[u8]) -> u64 {
        let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
    }
}

/// Bytes of a value of this kind.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}

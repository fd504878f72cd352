//! Reading `.nii` and `.nii.gz`: header, checks of its claims against the file, then the voxels as a stream.
//!
//! Nothing is allocated on the word of the header alone: a plain file must have the bytes, a compressed one must be
//! able to hold them (deflate expands at most 1032 times), and memory is touched only as voxels arrive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::header::{Header, LEN_2};
use super::orientation;
use crate::error::{Result, VolumeError};
use crate::{Geometry, Image, ImageWarning, Volume, VoxelType};

/// Bytes read at a time: fits the second-level cache together with the voxels made of it.
const CHUNK: usize = 1 << 17;
/// Deflate's largest expansion.
const MAX_EXPANSION: u64 = 1032;

/// Reads the image in `path`, one volume of two or three dimensions.
///
/// Values are as SimpleITK followed by a cast to f32 gives them: slope and intercept applied in f64 and rounded to
/// f32, NaN and infinities as zero (with a warning). Compression is recognised by content.
///
/// # Errors
/// Not a NIfTI file, impossible header fields, more than three dimensions, colour or complex voxels, fewer voxels
/// than the header says, a shape that cannot be in a file of this size.
pub fn read(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    let mut source = Source::open(path)?;
    let described = source.describe()?;
    let [x, y, z] = described.shape_xyz;
    let mut warnings = described.warnings;
    let header = &described.header;
    source.check_size(header, described.voxel_type, described.voxels)?;
    source.skip_to(header.vox_offset.max(header.len() as u64))?;
    let scaling = header.scaling();
    let (data, non_finite) =
        source.voxels(described.voxel_type, header.big_endian, described.voxels, scaling)?;
    if non_finite > 0 {
        warnings.push(ImageWarning::NonFiniteVoxels { count: non_finite });
    }
    let found = data.len();
    let volume = Volume::new([z, y, x], data).ok_or_else(|| VolumeError::Truncated {
        path: path.to_owned(),
        expected: described.voxels,
        found: format!("there are {found} voxels"),
    })?;
    Ok(Image {
        volume,
        geometry: described.geometry,
        stored_type: described.voxel_type,
        scaled: scaling.is_some(),
        warnings,
    })
}

/// Reads only the header of `path`: shape (z, y, x) and geometry.
///
/// # Errors
/// As [`read`], except for what only the voxels can show.
pub fn read_geometry(path: impl AsRef<Path>) -> Result<([usize; 3], Geometry)> {
    let mut source = Source::open(path.as_ref())?;
    let described = source.describe()?;
    let [x, y, z] = described.shape_xyz;
    Ok(([z, y, x], described.geometry))
}

/// What the header says, checked.
struct Described {
    header: Header,
    shape_xyz: [usize; 3],
    voxels: u64,
    voxel_type: VoxelType,
    geometry: Geometry,
    warnings: Vec<ImageWarning>,
}

/// An open file, decompressed where it is compressed.
struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    file_len: u64,
    compressed: bool,
    /// Start of the stream, read to find the header; `taken` bytes of it are used up.
    head: Vec<u8>,
    taken: usize,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        let mut magic = [0u8; 2];
        let got = read_up_to(&mut file, &mut magic).map_err(|e| VolumeError::io(path, "read it", e))?;
        let start = std::io::Cursor::new(magic[..got].to_vec()).chain(file);
        let compressed = magic == [0x1f, 0x8b];
        let buffered = std::io::BufReader::with_capacity(CHUNK, start);
        let reader: Box<dyn Read> =
            if compressed { Box::new(MultiGzDecoder::new(buffered)) } else { Box::new(buffered) };
        Ok(Self { path, reader, file_len, compressed, head: Vec::new(), taken: 0 })
    }

    fn describe(&mut self) -> Result<Described> {
        let path = self.path;
        self.head = vec![0; LEN_2];
        let got = read_up_to(&mut self.reader, &mut self.head).map_err(|source| {
            if self.compressed {
                VolumeError::DamagedCompression { path: path.to_owned(), source }
            } else {
                VolumeError::io(path, "read it", source)
            }
        })?;
        self.head.truncate(got);
        let header = Header::parse(path, &self.head)?;
        let (shape_xyz, flat) = header.shape_xyz(path)?;
        let voxels = shape_xyz.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        let voxels =
            voxels.filter(|n| *n <= (isize::MAX as u64) / 8).ok_or_else(|| VolumeError::BadHeader {
                path: path.to_owned(),
                field: "dim".into(),
                found: format!("{shape_xyz:?} (x, y, z)"),
                expected: "a shape that a file can hold".into(),
                advice: "The file is damaged: export it again.",
            })?;
        let voxel_type = header.voxel_type(path)?;
        let mut warnings = Vec::new();
        let geometry = orientation::geometry(path, &header, flat, &mut warnings)?;
        Ok(Described { header, shape_xyz, voxels, voxel_type, geometry, warnings })
    }

    /// Compares what the header promises with what the file can hold.
    fn check_size(&self, header: &Header, voxel_type: VoxelType, voxels: u64) -> Result<()> {
        let expected = voxels.saturating_mul(voxel_type.bytes() as u64);
        let room = if self.compressed {
            self.file_len.saturating_mul(MAX_EXPANSION)
        } else {
            self.file_len.saturating_sub(header.vox_offset.max(header.len() as u64))
        };
        if expected <= room {
            return Ok(());
        }
        let found = if self.compressed {
            format!("the compressed file of {} bytes cannot hold more than {room}", self.file_len)
        } else {
            format!("there are {room}")
        };
        Err(VolumeError::Truncated { path: self.path.to_owned(), expected, found })
    }

    fn skip_to(&mut self, offset: u64) -> Result<()> {
        let held = self.head.len() as u64;
        self.taken = offset.min(held) as usize;
        let rest = offset.saturating_sub(held);
        let skipped = std::io::copy(&mut (&mut self.reader).take(rest), &mut std::io::sink())
            .map_err(|e| self.damaged(0, 0, &e))?;
        if skipped < rest {
            return Err(self.short(0, 0));
        }
        Ok(())
    }

    /// The voxels as f32, and how many were not finite.
    fn voxels(
        &mut self,
        voxel_type: VoxelType,
        big_endian: bool,
        count: u64,
        scaling: Option<(f64, f64)>,
    ) -> Result<(Vec<f32>, u64)> {
        let bytes = count * voxel_type.bytes() as u64;
        let mut out: Vec<f32> = Vec::new();
        out.try_reserve_exact(count as usize)
            .map_err(|_| VolumeError::OutOfMemory { path: self.path.to_owned(), voxels: count })?;
        let mut buffer = vec![0u8; CHUNK];
        let mut non_finite = 0;
        let mut done = 0u64;
        while done < bytes {
            let want = ((bytes - done) as usize).min(CHUNK);
            let chunk = &mut buffer[..want];
            let from_head = want.min(self.head.len() - self.taken);
            chunk[..from_head].copy_from_slice(&self.head[self.taken..self.taken + from_head]);
            self.taken += from_head;
            let got = read_up_to(&mut self.reader, &mut chunk[from_head..])
                .map_err(|e| self.damaged(bytes, done + from_head as u64, &e))?;
            if from_head + got < want {
                return Err(self.short(bytes, done + (from_head + got) as u64));
            }
            non_finite += append(&mut out, chunk, voxel_type, big_endian, scaling);
            done += want as u64;
        }
        // The checksum of a compressed file is behind its last byte.
        let mut one = [0u8; 1];
        read_up_to(&mut self.reader, &mut one).map_err(|e| self.damaged(bytes, done, &e))?;
        Ok((out, non_finite))
    }

    fn damaged(&self, expected: u64, done: u64, error: &std::io::Error) -> VolumeError {
        let found = format!("after {done} of them reading fails: {error}");
        VolumeError::Truncated { path: self.path.to_owned(), expected, found }
    }

    fn short(&self, expected: u64, done: u64) -> VolumeError {
        VolumeError::Truncated { path: self.path.to_owned(), expected, found: format!("there are {done}") }
    }
}

/// Fills `buffer` unless the stream ends before; returns how much was read.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Decodes `bytes` (whole voxels) onto `out`; returns how many were not finite.
fn append(
    out: &mut Vec<f32>,
    bytes: &[u8],
    voxel_type: VoxelType,
    big_endian: bool,
    scaling: Option<(f64, f64)>,
) -> u64 {
    macro_rules! integers {
        ($t:ty) => {
            numbers!($t, |v: $t| v as f32, |v: $t| f64::from(v as f32))
        };
    }
    macro_rules! numbers {
        ($t:ty, $plain:expr, $wide:expr) => {{
            let chunks = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            let (plain, wide) = ($plain, $wide);
            match (scaling, big_endian) {
                (None, false) => out.extend(chunks.map(|c| plain(<$t>::from_le_bytes(*c)))),
                (None, true) => out.extend(chunks.map(|c| plain(<$t>::from_be_bytes(*c)))),
                (Some((slope, intercept)), _) => out.extend(chunks.map(|c| {
                    let v = if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) };
                    (wide(v) * slope + intercept) as f32
                })),
            }
            0
        }};
    }
    macro_rules! floats {
        ($t:ty) => {{
            let mut bad = 0u64;
            let mut fixed = |v: $t| {
                let finite = v.is_finite();
                bad += u64::from(!finite);
                if finite { v } else { 0.0 }
            };
            let chunks = bytes.as_chunks::<{ size_of::<$t>() }>().0.iter();
            match scaling {
                None => out.extend(chunks.map(|c| {
                    fixed(if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) }) as f32
                })),
                Some((slope, intercept)) => out.extend(chunks.map(|c| {
                    let v = fixed(if big_endian { <$t>::from_be_bytes(*c) } else { <$t>::from_le_bytes(*c) })
                        as f64;
                    (v * slope + intercept) as f32
                })),
            }
            bad
        }};
    }
    match voxel_type {
        VoxelType::I8 => integers!(i8),
        VoxelType::U8 => integers!(u8),
        VoxelType::I16 => integers!(i16),
        VoxelType::U16 => integers!(u16),
        VoxelType::I32 => integers!(i32),
        VoxelType::U32 => integers!(u32),
        VoxelType::I64 => integers!(i64),
        VoxelType::U64 => integers!(u64),
        VoxelType::F32 => floats!(f32),
        VoxelType::F64 => floats!(f64),
    }
}

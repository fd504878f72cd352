//! Reading `.nii` and `.nii.gz`: header, checks of its claims against the file, then the voxels as a stream.
//!
//! Nothing is allocated on the word of the header alone: a plain file must have the bytes, a compressed one must be
//! able to hold them (deflate expands at most 1032 times), and memory is touched only as voxels arrive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::header::{Header, LEN_2};
use super::orientation;
use crate::stream::{ByteStream, Compression};
use crate::voxels::{Encoding, check_room, read_up_to, read_voxels, voxel_count};
use crate::{Image, ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, Volume};

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
    let (geometry, stored_type) = (described.geometry, described.voxel_type);
    let scaling = described.header.scaling();
    let (volume, warnings) = voxels(path, &mut source, described, scaling, true)?;
    Ok(Image { volume, geometry, stored_type, scaled: scaling.is_some(), warnings })
}

/// Reads the voxels behind the header and completes the warnings. `zero_non_finite`: NaN and infinities become zero.
pub(super) fn voxels(
    path: &Path,
    source: &mut Source<'_>,
    described: Described,
    scaling: Option<(f64, f64)>,
    zero_non_finite: bool,
) -> Result<(Volume<f32>, Vec<ImageWarning>)> {
    let [x, y, z] = described.shape_xyz;
    let mut warnings = described.warnings;
    let header = &described.header;
    let expected = described.voxels.saturating_mul(described.voxel_type.bytes() as u64);
    let head = source.skip_to_voxels(header, expected)?;
    let (voxel_type, big_endian) = (described.voxel_type, header.big_endian);
    let encoding = Encoding { voxel_type, big_endian, scaling, zero_non_finite };
    let (data, unusual) = read_voxels(path, &head, &mut source.reader, &encoding, described.voxels)?;
    warnings.extend(unusual);
    let found = format!("there are {} voxels", data.len());
    let volume = Volume::new([z, y, x], data).ok_or_else(|| VolumeError::Truncated {
        path: path.to_owned(),
        expected,
        found,
    })?;
    Ok((volume, warnings))
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
pub(super) struct Described {
    pub(super) header: Header,
    pub(super) shape_xyz: [usize; 3],
    voxels: u64,
    pub(super) voxel_type: VoxelType,
    pub(super) geometry: Geometry,
    warnings: Vec<ImageWarning>,
}

/// An open file, decompressed where it is compressed.
pub(super) struct Source<'a> {
    path: &'a Path,
    pub(super) reader: ByteStream,
    file_len: u64,
    compressed: bool,
    /// Start of the stream, read to find the header.
    pub(super) head: Vec<u8>,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| VolumeError::io(path, "open it", e))?;
        let file_len = file.metadata().map_err(|e| VolumeError::io(path, "read its size", e))?.len();
        let mut magic = [0u8; 2];
        let got = read_up_to(&mut file, &mut magic).map_err(|e| VolumeError::io(path, "read it", e))?;
        let compressed = magic == [0x1f, 0x8b];
        let compression = if compressed { Compression::Gzip } else { Compression::None };
        let reader = ByteStream::new(magic[..got].to_vec(), file, compression);
        Ok(Self { path, reader, file_len, compressed, head: Vec::new() })
    }

    /// Reads the header.
    pub(super) fn header(&mut self) -> Result<Header> {
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
        Header::parse(path, &self.head)
    }

    pub(super) fn describe(&mut self) -> Result<Described> {
        let path = self.path;
        let header = self.header()?;
        let mut warnings = Vec::new();
        let (shape_xyz, flat) = header.shape_xyz(path, &mut warnings)?;
        let voxels = voxel_count(path, shape_xyz)?;
        let voxel_type = header.voxel_type(path)?;
        let geometry = orientation::geometry(path, &header, flat, &mut warnings)?;
        Ok(Described { header, shape_xyz, voxels, voxel_type, geometry, warnings })
    }

    /// Uses up the stream to the voxels, of which `expected` bytes must be able to be there; what was read of
    /// them already comes back.
    pub(super) fn skip_to_voxels(&mut self, header: &Header, expected: u64) -> Result<Vec<u8>> {
        let offset = header.vox_offset.max(header.len() as u64);
        let room = if self.compressed { self.file_len } else { self.file_len.saturating_sub(offset) };
        check_room(self.path, expected, room, self.compressed)?;
        self.skip_to(offset, expected)
    }

    /// Uses up the stream to `offset`; what is left of the head comes back.
    fn skip_to(&mut self, offset: u64, expected: u64) -> Result<Vec<u8>> {
        let mut head = std::mem::take(&mut self.head);
        let rest = offset.saturating_sub(head.len() as u64);
        let skipped = std::io::copy(&mut (&mut self.reader).take(rest), &mut std::io::sink());
        match skipped {
            Ok(n) if n == rest => Ok(head.split_off((offset as usize).min(head.len()))),
            Ok(_) => Err(VolumeError::Truncated {
                path: self.path.to_owned(),
                expected,
                found: "there are none".into(),
            }),
            Err(source) => Err(VolumeError::DamagedCompression { path: self.path.to_owned(), source }),
        }
    }
}

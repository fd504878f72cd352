//! Writing `.nii` and `.nii.gz`: NIfTI-1, or NIfTI-2 where a dimension is longer than NIfTI-1 can say.
//!
//! The same image gives the same bytes: no time stamp, no name in the compressed stream.

use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::header::{Header, LEN_1, LEN_2};
use super::orientation;
use super::reader::{read, read_geometry};
use crate::VoxelType;
use crate::itk::ItkFormat;
use crate::labels::check_flat;
use crate::voxels::{StoredVoxel, write_voxels};
use crate::write_file;
use nnunet_volume::error::Result;
use nnunet_volume::{Geometry, Volume};

/// The format.
pub(crate) const FORMAT: ItkFormat = ItkFormat {
    endings: &[".nii.gz", ".nii"],
    refuses_skew: true,
    read: |path| read(path),
    read_geometry: |path| read_geometry(path),
    write_u8: |path, labels, geometry| write(path, labels, geometry),
    write_u16: |path, labels, geometry| write(path, labels, geometry),
};

/// Deflate level. Label maps hardly shrink further above it, and the time is a fraction of level 6.
const LEVEL: u32 = 4;

/// Writes `volume` (z, y, x) with `geometry` to `path`, compressed if the name ends in `.gz`.
///
/// SimpleITK reads back the spacing, origin and direction of a geometry that came from a NIfTI file to the bit; other
/// values are rounded to f32, the precision of the format. A geometry of dimension 2 gives a flat file.
///
/// # Errors
/// A flat geometry for a volume of several slices, and whatever the operating system refuses. A file that was at
/// `path` stays as it was on an error.
pub fn write<T: StoredVoxel>(path: impl AsRef<Path>, volume: &Volume<T>, geometry: &Geometry) -> Result<()> {
    write_with_header(path.as_ref(), volume, geometry, |_| ())
}

/// As [`write()`], after `change` had its way with the header.
pub(super) fn write_with_header<T: StoredVoxel>(
    path: &Path,
    volume: &Volume<T>,
    geometry: &Geometry,
    change: impl FnOnce(&mut Header),
) -> Result<()> {
    let mut header = header_for::<T>(path, volume.shape(), geometry)?;
    change(&mut header);
    let header = header.to_bytes(8 * size_of::<T>() as i16);
    write_stream(path, |mut out| {
        out.write_all(&header)?;
        write_voxels(&mut out, volume.data())
    })
}

/// Writes a file whole or not at all: what `fill` writes, compressed if the name ends in `.gz`.
pub(super) fn write_stream(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let compress = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    write_file(path, |file| {
        if compress {
            let mut gz = GzBuilder::new().mtime(0).write(file, Compression::new(LEVEL));
            fill(&mut gz)?;
            gz.finish().map(|_| ())
        } else {
            fill(file)
        }
    })
}

/// Writes a label image as the reference does: u8 if every label is below 255, else u16.
///
/// # Errors
/// As [`write()`]; a label above 65535.
pub fn write_labels<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    geometry: &Geometry,
) -> Result<()> {
    FORMAT.write_labels(path.as_ref(), labels, geometry)
}

fn header_for<T: StoredVoxel>(path: &Path, shape: [usize; 3], geometry: &Geometry) -> Result<Header> {
    let flat = geometry.dimension == 2;
    check_flat(path, shape, geometry.dimension)?;
    let single = shape.iter().all(|&d| d <= i16::MAX as usize);
    let [z, y, x] = shape.map(|d| d as i64);
    let mut header = Header {
        single,
        big_endian: false,
        dim: [if flat { 2 } else { 3 }, x, y, z, 1, 1, 1, 1],
        datatype: datatype(T::TYPE),
        pixdim: [0.0; 8],
        vox_offset: (if single { LEN_1 } else { LEN_2 }) as u64 + 4,
        slope: 1.0,
        intercept: 0.0,
        // Millimetres and seconds.
        units: 10,
        qform_code: 0,
        sform_code: 0,
        quaternion: [0.0; 3],
        offset: [0.0; 3],
        srow: [[0.0; 4]; 3],
    };
    orientation::set_geometry(&mut header, geometry);
    Ok(header)
}

/// NIfTI's `datatype` code.
fn datatype(voxel_type: VoxelType) -> i16 {
    match voxel_type {
        VoxelType::U8 => 2,
        VoxelType::I16 => 4,
        VoxelType::I32 => 8,
        VoxelType::F32 => 16,
        VoxelType::F64 => 64,
        VoxelType::I8 => 256,
        VoxelType::U16 => 512,
        VoxelType::U32 => 768,
        VoxelType::I64 => 1024,
        VoxelType::U64 => 1280,
    }
}

//! Writing `.nii` and `.nii.gz`: NIfTI-1, or NIfTI-2 where a dimension is longer than NIfTI-1 can say.
//!
//! The same image gives the same bytes: no time stamp, no name in the compressed stream.

use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::header::{Header, LEN_1, LEN_2};
use super::orientation;
use crate::atomic_file::write_atomically;
use crate::error::{Result, VolumeError};
use crate::{Geometry, Volume};

/// Voxels encoded at a time.
const CHUNK: usize = 1 << 15;
/// Deflate level. Label maps hardly shrink further above it, and the time is a fraction of level 6.
const LEVEL: u32 = 4;

/// A voxel type that can be stored.
pub trait StoredVoxel: Copy + Send + Sync + private::Sealed {
    /// NIfTI's `datatype` code.
    const DATATYPE: i16;
    /// Appends the voxel in low-byte-first order.
    fn encode(self, out: &mut Vec<u8>);
}

mod private {
    /// Keeps the trait to the types of the format.
    pub trait Sealed {}
}

macro_rules! stored {
    ($($t:ty = $code:literal),*) => {$(
        impl private::Sealed for $t {}
        impl StoredVoxel for $t {
            const DATATYPE: i16 = $code;
            fn encode(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
stored!(u8 = 2, i16 = 4, i32 = 8, f32 = 16, f64 = 64, i8 = 256, u16 = 512, u32 = 768, i64 = 1024, u64 = 1280);

/// Writes `volume` (z, y, x) with `geometry` to `path`, compressed if the name ends in `.gz`.
///
/// SimpleITK reads back the spacing, origin and direction of a geometry that came from a NIfTI file to the bit; other
/// values are rounded to f32, the precision of the format. A geometry of dimension 2 gives a flat file.
///
/// # Errors
/// A flat geometry for a volume of several slices, and whatever the operating system refuses. A file that was at
/// `path` stays as it was on an error.
pub fn write<T: StoredVoxel>(path: impl AsRef<Path>, volume: &Volume<T>, geometry: &Geometry) -> Result<()> {
    let path = path.as_ref();
    let header = header_for::<T>(path, volume.shape(), geometry)?.to_bytes(8 * size_of::<T>() as i16);
    let compress = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    write_atomically(path, |file| {
        if compress {
            let mut gz = GzBuilder::new().mtime(0).write(file, Compression::new(LEVEL));
            write_parts(&mut gz, &header, volume.data())?;
            gz.finish().map(|_| ())
        } else {
            write_parts(file, &header, volume.data())
        }
    })
}

/// Writes a label image as the reference does: u8 if every label is below 255, else u16.
///
/// # Errors
/// As [`write`]; a label above 65535.
pub fn write_labels<T: Copy + Into<u32> + Sync>(
    path: impl AsRef<Path>,
    labels: &Volume<T>,
    geometry: &Geometry,
) -> Result<()> {
    let path = path.as_ref();
    let largest: u32 = labels.data().iter().map(|&v| v.into()).max().unwrap_or(0);
    let unfit = || VolumeError::Unsupported {
        path: path.to_owned(),
        found: format!("label {largest}"),
        expected: "labels up to 65535",
        advice: "Renumber the labels.",
    };
    if largest < 255 {
        let bytes = labels.data().iter().map(|&v| v.into() as u8).collect();
        write(path, &Volume::new(labels.shape(), bytes).ok_or_else(unfit)?, geometry)
    } else if largest <= u32::from(u16::MAX) {
        let words = labels.data().iter().map(|&v| v.into() as u16).collect();
        write(path, &Volume::new(labels.shape(), words).ok_or_else(unfit)?, geometry)
    } else {
        Err(unfit())
    }
}

fn header_for<T: StoredVoxel>(path: &Path, shape: [usize; 3], geometry: &Geometry) -> Result<Header> {
    let flat = geometry.dimension == 2;
    if flat && shape[0] != 1 {
        return Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: format!("a flat geometry for a volume of {} slices", shape[0]),
            expected: "one slice",
            advice: "Write it with the geometry of a volume.",
        });
    }
    let single = shape.iter().all(|&d| d <= i16::MAX as usize);
    let [z, y, x] = shape.map(|d| d as i64);
    let mut header = Header {
        single,
        big_endian: false,
        dim: [if flat { 2 } else { 3 }, x, y, z, 1, 1, 1, 1],
        datatype: T::DATATYPE,
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

fn write_parts<T: StoredVoxel>(out: &mut impl Write, header: &[u8], data: &[T]) -> std::io::Result<()> {
    out.write_all(header)?;
    let mut buffer = Vec::with_capacity(CHUNK * size_of::<T>());
    for chunk in data.chunks(CHUNK) {
        buffer.clear();
        chunk.iter().for_each(|v| v.encode(&mut buffer));
        out.write_all(&buffer)?;
    }
    Ok(())
}

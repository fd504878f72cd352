//! The fixed header of a NIfTI-1 (348 bytes) or NIfTI-2 (540 bytes) file, either byte order.
//!
//! Source: the format's definition, nifti1.h and nifti2.h. Fields that say nothing about grid, type or place are
//! not kept. NIfTI-1 stores f32 where NIfTI-2 stores f64: here both are f64, and `single` tells.

use std::path::Path;

use crate::{ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};

/// Length of a NIfTI-1 header.
pub(super) const LEN_1: usize = 348;
/// Length of a NIfTI-2 header.
pub(super) const LEN_2: usize = 540;

/// The fields of a header that matter for the image, in the file's own axes (x, y, z) and RAS.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    /// NIfTI-1, whose real numbers are f32.
    pub(super) single: bool,
    /// Whether multi-byte values run from the high byte.
    pub(super) big_endian: bool,
    /// `dim`: number of dimensions, then their lengths.
    pub(super) dim: [i64; 8],
    /// `datatype` code.
    pub(super) datatype: i16,
    /// `pixdim`: sign of the z axis of the qform, then the spacings.
    pub(super) pixdim: [f64; 8],
    /// First byte of the voxels.
    pub(super) vox_offset: u64,
    /// `scl_slope`.
    pub(super) slope: f64,
    /// `scl_inter`.
    pub(super) intercept: f64,
    /// `xyzt_units`: lengths in the low three bits.
    pub(super) units: i32,
    /// `qform_code`.
    pub(super) qform_code: i32,
    /// `sform_code`.
    pub(super) sform_code: i32,
    /// `quatern_b`, `quatern_c`, `quatern_d`.
    pub(super) quaternion: [f64; 3],
    /// `qoffset_x`, `qoffset_y`, `qoffset_z`.
    pub(super) offset: [f64; 3],
    /// `srow_x`, `srow_y`, `srow_z`.
    pub(super) srow: [[f64; 4]; 3],
}

/// Reads numbers at fixed offsets in either byte order.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut raw = [0; N];
        raw.copy_from_slice(&self.bytes[at..at + N]);
        if self.big_endian {
            raw.reverse();
        }
        raw
    }
    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.array(at))
    }
    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }
    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.array(at)))
    }
    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.array(at))
    }
}

impl Header {
    /// Parses a header from the first bytes of a file: at least 540 of them, or all if there are fewer.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let not_nifti =
            |found: String| VolumeError::NotThisFormat { path: path.to_owned(), format: "NIfTI", found };
        if bytes.len() < LEN_1 {
            return Err(not_nifti(format!("it has {} bytes, a header alone has {LEN_1}", bytes.len())));
        }
        if &bytes[344..347] == b"n+1" {
            return Ok(Self::parse_1(&Fields {
                bytes,
                big_endian: !(1..=7).contains(&bytes[40]) || bytes[41] != 0,
            }));
        }
        if bytes.len() >= LEN_2 && &bytes[4..7] == b"n+2" {
            return Ok(Self::parse_2(&Fields { bytes, big_endian: bytes[0] == 0 }));
        }
        if &bytes[344..347] == b"ni1" || &bytes[4..7] == b"ni2" {
            return Err(VolumeError::Unsupported {
                path: path.to_owned(),
                found: "a header whose voxels are in a second file (.hdr and .img)".into(),
                expected: "header and voxels in one file",
                advice: "Convert the pair to .nii.gz.",
            });
        }
        Err(not_nifti(format!(
            "bytes 344 to 347 are {:?}, expected \"n+1\"",
            String::from_utf8_lossy(&bytes[344..347])
        )))
    }

    fn parse_1(f: &Fields<'_>) -> Self {
        Self {
            single: true,
            big_endian: f.big_endian,
            dim: std::array::from_fn(|i| i64::from(f.i16(40 + 2 * i))),
            datatype: f.i16(70),
            pixdim: std::array::from_fn(|i| f.f32(76 + 4 * i)),
            vox_offset: f.f32(108) as u64,
            slope: f.f32(112),
            intercept: f.f32(116),
            units: i32::from(f.bytes[123]),
            qform_code: i32::from(f.i16(252)),
            sform_code: i32::from(f.i16(254)),
            quaternion: std::array::from_fn(|i| f.f32(256 + 4 * i)),
            offset: std::array::from_fn(|i| f.f32(268 + 4 * i)),
            srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f32(280 + 16 * r + 4 * c))),
        }
    }

    fn parse_2(f: &Fields<'_>) -> Self {
        Self {
            single: false,
            big_endian: f.big_endian,
            dim: std::array::from_fn(|i| f.i64(16 + 8 * i)),
            datatype: f.i16(12),
            pixdim: std::array::from_fn(|i| f.f64(104 + 8 * i)),
            vox_offset: u64::try_from(f.i64(168)).unwrap_or(0),
            slope: f.f64(176),
            intercept: f.f64(184),
            units: f.i32(500),
            qform_code: f.i32(344),
            sform_code: f.i32(348),
            quaternion: std::array::from_fn(|i| f.f64(352 + 8 * i)),
            offset: std::array::from_fn(|i| f.f64(376 + 8 * i)),
            srow: std::array::from_fn(|r| std::array::from_fn(|c| f.f64(400 + 32 * r + 8 * c))),
        }
    }

    /// Length of the header itself.
    pub(super) fn len(&self) -> usize {
        if self.single { LEN_1 } else { LEN_2 }
    }

    /// The header as bytes in low-byte-first order, with the four zero bytes that say "no extensions".
    ///
    /// `bits` is the number of bits of a voxel.
    pub(super) fn to_bytes(&self, bits: i16) -> Vec<u8> {
        let mut out = vec![0u8; self.len() + 4];
        let mut put = |at: usize, raw: &[u8]| out[at..at + raw.len()].copy_from_slice(raw);
        if self.single {
            put(0, &(LEN_1 as i32).to_le_bytes());
            put(38, b"r");
            for (i, &d) in self.dim.iter().enumerate() {
                put(40 + 2 * i, &(d as i16).to_le_bytes());
            }
            put(70, &self.datatype.to_le_bytes());
            put(72, &bits.to_le_bytes());
            let mut real = |at: usize, v: f64| put(at, &(v as f32).to_le_bytes());
            for (i, &v) in self.pixdim.iter().enumerate() {
                real(76 + 4 * i, v);
            }
            real(108, self.vox_offset as f64);
            real(112, self.slope);
            real(116, self.intercept);
            for i in 0..3 {
                real(256 + 4 * i, self.quaternion[i]);
                real(268 + 4 * i, self.offset[i]);
                for c in 0..4 {
                    real(280 + 16 * i + 4 * c, self.srow[i][c]);
                }
            }
            put(123, &[self.units as u8]);
            put(252, &(self.qform_code as i16).to_le_bytes());
            put(254, &(self.sform_code as i16).to_le_bytes());
            put(344, b"n+1\0");
        } else {
            put(0, &(LEN_2 as i32).to_le_bytes());
            put(4, b"n+2\0\r\n\x1a\n");
            put(12, &self.datatype.to_le_bytes());
            put(14, &bits.to_le_bytes());
            for (i, &d) in self.dim.iter().enumerate() {
                put(16 + 8 * i, &d.to_le_bytes());
            }
            let mut real = |at: usize, v: f64| put(at, &v.to_le_bytes());
            for (i, &v) in self.pixdim.iter().enumerate() {
                real(104 + 8 * i, v);
            }
            real(176, self.slope);
            real(184, self.intercept);
            for i in 0..3 {
                real(352 + 8 * i, self.quaternion[i]);
                real(376 + 8 * i, self.offset[i]);
                for c in 0..4 {
                    real(400 + 32 * i + 8 * c, self.srow[i][c]);
                }
            }
            put(168, &(self.vox_offset as i64).to_le_bytes());
            put(500, &self.units.to_le_bytes());
            put(344, &self.qform_code.to_le_bytes());
            put(348, &self.sform_code.to_le_bytes());
        }
        out
    }

    /// The header of a file with the first volume alone, from the `bytes` that this one was parsed from: in the same
    /// byte order, all else as it was, with the four zero bytes that say "no extensions".
    pub(super) fn of_one_volume(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes[..self.len()].to_vec();
        let offset = self.len() + 4;
        let mut put = |at: usize, low_first: &[u8]| {
            let place = &mut out[at..at + low_first.len()];
            place.copy_from_slice(low_first);
            if self.big_endian {
                place.reverse();
            }
        };
        // Number of dimensions, then the lengths of those after the third.
        for (i, length) in [(0, 3), (4, 1), (5, 1), (6, 1), (7, 1)] {
            if self.single {
                put(40 + 2 * i, &i16::to_le_bytes(length));
            } else {
                put(16 + 8 * i, &i64::from(length).to_le_bytes());
            }
        }
        if self.single {
            put(108, &(offset as f32).to_le_bytes());
        } else {
            put(168, &(offset as i64).to_le_bytes());
        }
        out.extend([0; 4]);
        out
    }

    /// Shape (x, y, z) of the one volume in the file and whether the file is flat (two dimensions).
    pub(super) fn shape_xyz(
        &self,
        path: &Path,
        warnings: &mut Vec<ImageWarning>,
    ) -> Result<([usize; 3], bool)> {
        match *self.shape(path, warnings)? {
            [x, y] => Ok(([x, y, 1], true)),
            [x, y, z] => Ok(([x, y, z], false)),
            ref more => {
                let shape = more.iter().map(|&d| d as u64).collect();
                Err(VolumeError::MoreThanThreeDimensions { path: path.to_owned(), shape })
            }
        }
    }

    /// Lengths of the two or more dimensions, x first.
    ///
    /// After the third, lengths that are not positive become one and dimensions of length one are dropped, both as in
    /// ITK.
    pub(super) fn shape(&self, path: &Path, warnings: &mut Vec<ImageWarning>) -> Result<Vec<usize>> {
        let bad = |field: String, found: i64, expected: String| VolumeError::BadHeader {
            path: path.to_owned(),
            field,
            found: found.to_string(),
            expected,
            advice: "The file is damaged: export it again.",
        };
        let limit = if self.single { i64::from(i16::MAX) } else { 1 << 40 };
        let count = self.dim[0];
        if !(2..=7).contains(&count) {
            return Err(bad("dim[0] (the number of dimensions)".into(), count, "2 or 3".into()));
        }
        let mut shape = Vec::new();
        for (i, &d) in self.dim.iter().enumerate().take(count as usize + 1).skip(1) {
            if i > 3 && d <= 0 {
                warnings.push(ImageWarning::EmptyDimension { dimension: i, found: d });
                shape.push(1);
                continue;
            }
            if !(1..=limit).contains(&d) {
                return Err(bad(format!("dim[{i}]"), d, format!("1 to {limit}")));
            }
            shape.push(d as usize);
        }
        while shape.len() > 3 && shape.last() == Some(&1) {
            shape.pop();
        }
        Ok(shape)
    }

    /// Type of the voxels.
    pub(super) fn voxel_type(&self, path: &Path) -> Result<VoxelType> {
        let found = match self.datatype {
            2 => return Ok(VoxelType::U8),
            4 => return Ok(VoxelType::I16),
            8 => return Ok(VoxelType::I32),
            16 => return Ok(VoxelType::F32),
            64 => return Ok(VoxelType::F64),
            256 => return Ok(VoxelType::I8),
            512 => return Ok(VoxelType::U16),
            768 => return Ok(VoxelType::U32),
            1024 => return Ok(VoxelType::I64),
            1280 => return Ok(VoxelType::U64),
            1 => "a bitmap".to_owned(),
            32 | 1792 | 2048 => "an image of complex numbers".to_owned(),
            128 | 2304 => "a colour image".to_owned(),
            1536 => "an image of 128-bit floats".to_owned(),
            other => format!("datatype {other}"),
        };
        Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found,
            expected: "one integer or real number per voxel",
            advice: "Convert it, with each component in a file of its own.",
        })
    }

    /// Slope and intercept if they change the values, by ITK's rule.
    pub(super) fn scaling(&self) -> Option<(f64, f64)> {
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        let slope = finite(self.slope);
        let slope = if slope.abs() < f64::EPSILON { 1.0 } else { slope };
        let intercept = finite(self.intercept);
        ((slope - 1.0).abs() > f64::EPSILON || intercept.abs() > f64::EPSILON).then_some((slope, intercept))
    }
}

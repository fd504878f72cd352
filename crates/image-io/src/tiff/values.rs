//! From the bytes of a row to values.

use half::f16;

use crate::VoxelType;
use crate::voxels::{Encoding, append_voxels};

/// Type of the values of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleType {
    /// A type that other formats have too.
    Voxel(VoxelType),
    /// Half precision.
    F16,
    /// Unsigned numbers of 1 to 31 bits side by side, high bits first; rows begin at whole bytes.
    Packed(u32),
}

impl SampleType {
    /// From `SampleFormat` and `BitsPerSample`; `None` if such numbers are not read.
    pub(super) fn of(format: u64, bits: u64) -> Option<Self> {
        use VoxelType::{F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        // 4 is "undefined", which is taken as unsigned.
        Some(match (format, bits) {
            (1 | 4, 8) => Self::Voxel(U8),
            (1 | 4, 16) => Self::Voxel(U16),
            (1 | 4, 32) => Self::Voxel(U32),
            (1 | 4, 64) => Self::Voxel(U64),
            (2, 8) => Self::Voxel(I8),
            (2, 16) => Self::Voxel(I16),
            (2, 32) => Self::Voxel(I32),
            (2, 64) => Self::Voxel(I64),
            (3, 32) => Self::Voxel(F32),
            (3, 64) => Self::Voxel(F64),
            (3, 16) => Self::F16,
            (1 | 4, 1..=31) => Self::Packed(bits as u32),
            _ => return None,
        })
    }

    /// Bits of a value.
    pub(super) fn bits(self) -> usize {
        match self {
            Self::Voxel(kind) => 8 * kind.bytes(),
            Self::F16 => 16,
            Self::Packed(bits) => bits as usize,
        }
    }

    /// The nearest type in terms of [`crate::Image`].
    pub(super) fn voxel_type(self) -> VoxelType {
        match self {
            Self::Voxel(kind) => kind,
            Self::F16 => VoxelType::F32,
            Self::Packed(1..=8) => VoxelType::U8,
            Self::Packed(9..=16) => VoxelType::U16,
            Self::Packed(_) => VoxelType::U32,
        }
    }

    /// Appends the first `count` values in `row`.
    pub(super) fn append(self, out: &mut Vec<f32>, row: &[u8], big_endian: bool, count: usize) {
        match self {
            Self::Voxel(voxel_type) => {
                let encoding = Encoding { voxel_type, big_endian, scaling: None, zero_non_finite: false };
                append_voxels(out, &row[..count * voxel_type.bytes()], &encoding);
            }
            Self::F16 => out.extend(row.as_chunks::<2>().0.iter().take(count).map(|bytes| {
                let bits = if big_endian { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) };
                f16::from_bits(bits).to_f32()
            })),
            Self::Packed(bits) => {
                let bits = bits as usize;
                out.extend((0..count).map(|i| {
                    let bit = |at: usize| u32::from(row[at / 8] >> (7 - at % 8) & 1);
                    (i * bits..(i + 1) * bits).fold(0u32, |value, at| value << 1 | bit(at)) as f32
                }));
            }
        }
    }
}

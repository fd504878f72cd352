//! An image as read from a file: voxels, geometry, and what the reader noticed.

use crate::{ChannelVolume, Geometry, Volume};

/// Type of a voxel in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelType {
    /// Signed 8 bit.
    I8,
    /// Unsigned 8 bit.
    U8,
    /// Signed 16 bit.
    I16,
    /// Unsigned 16 bit.
    U16,
    /// Signed 32 bit.
    I32,
    /// Unsigned 32 bit.
    U32,
    /// Signed 64 bit.
    I64,
    /// Unsigned 64 bit.
    U64,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl VoxelType {
    /// Bytes of one voxel.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Whether the file stores whole numbers.
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }
}

/// Something in a file that is unusual but readable.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageWarning {
    /// The axes are not at right angles: `deviation` is the largest entry of |D Dᵀ - 1|.
    ///
    /// The direction is kept as the header has it. ITK refuses such files.
    NonOrthonormalDirection {
        /// Largest deviation of D Dᵀ from the identity.
        deviation: f64,
    },
    /// The file has NaN or infinite voxels.
    NonFiniteVoxels {
        /// How many.
        count: u64,
        /// Whether they were read as zero, as ITK reads them from NIfTI files; from other formats they are kept.
        zeroed: bool,
    },
    /// The header has a spacing of zero along this axis (0 = x). It was read as 1 mm, as ITK does.
    ZeroSpacing {
        /// The axis, 0 = x.
        axis: usize,
    },
}

impl ImageWarning {
    /// The warning for `count` voxels that are not finite, if there are any.
    pub(crate) fn non_finite(count: u64, zeroed: bool) -> Option<Self> {
        (count > 0).then_some(Self::NonFiniteVoxels { count, zeroed })
    }
}

impl std::fmt::Display for ImageWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NonOrthonormalDirection { deviation } => {
                write!(
                    f,
                    "the image axes are not at right angles (deviation {deviation:.2e}); the header is kept"
                )
            }
            Self::NonFiniteVoxels { count, zeroed } => {
                let what = if *zeroed { "were read as 0" } else { "stay as they are" };
                write!(f, "{count} voxels are NaN or infinite; they {what}")
            }
            Self::ZeroSpacing { axis } => {
                let name = ["x", "y", "z"].get(*axis).copied().unwrap_or("?");
                write!(f, "the spacing along {name} is 0; it was read as 1 mm")
            }
        }
    }
}

/// One image, its values as f32 as nnU-Net takes them.
///
/// Integers above 2^24 and doubles are rounded to the nearest f32; `stored_type` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Voxels (z, y, x); a flat image has shape (1, y, x).
    pub volume: Volume<f32>,
    /// Where the image lies.
    pub geometry: Geometry,
    /// Type of the voxels in the file, before any scaling.
    pub stored_type: VoxelType,
    /// Whether the header's slope and intercept changed the stored values.
    pub scaled: bool,
    /// What is unusual about the file, empty for an ordinary one.
    pub warnings: Vec<ImageWarning>,
}

/// An image with one or more values per pixel, e.g. a photograph.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelImage {
    /// Values (c, z, y, x); a flat image has one slice.
    pub channels: ChannelVolume<f32>,
    /// Where the image lies.
    pub geometry: Geometry,
    /// Type of a value in the file.
    pub stored_type: VoxelType,
    /// What is unusual about the file, empty for an ordinary one.
    pub warnings: Vec<ImageWarning>,
}

//! An image as read from a file: voxels, geometry, and what the reader noticed.

use std::path::{Path, PathBuf};

use nnunet_volume::{ChannelVolume, Geometry, Volume};

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

/// One of the two ways in which a NIfTI header states where its image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NiftiForm {
    /// A matrix, `srow_x` to `srow_z`.
    Sform,
    /// A quaternion and an offset.
    Qform,
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
    /// The file has voxels that are NaN, infinite or too large for f32.
    NonFiniteVoxels {
        /// How many.
        count: u64,
        /// Whether they were read as zero, as ITK reads NaN and infinities from NIfTI files; from other formats they are
        /// kept, and finite numbers beyond the range of f32 become infinite.
        zeroed: bool,
    },
    /// The header has a spacing of zero along this axis (0 = x). It was read as 1 mm, as ITK does.
    ZeroSpacing {
        /// The axis, 0 = x.
        axis: usize,
    },
    /// A length in the header of a NIfTI file is zero or negative. It was read as 1, as ITK does.
    EmptyDimension {
        /// Which one: 4 for `dim[4]`.
        dimension: usize,
        /// Its value.
        found: i64,
    },
    /// The sform and the qform of a NIfTI file place the image differently.
    FormsDisagree {
        /// The one that counts.
        taken: NiftiForm,
    },
    /// The file goes on behind its last voxel. The rest was not read.
    BytesBehindVoxels,
    /// A key is in the header more than once, with different values. The last one counts.
    RepeatedKey {
        /// The key in the format's own words.
        key: String,
    },
    /// The header does not say how large a voxel is, so it was taken to be 1 mm along each axis.
    NoSpacing,
    /// A field of the header contradicts or repeats another one, which counts.
    IgnoredField {
        /// The field in the format's own words.
        key: &'static str,
        /// The one that counts.
        instead: &'static str,
    },
    /// There is no file with the spacing, so it was taken to be 1 mm along each axis.
    NoSpacingFile {
        /// The file that was looked for.
        expected: PathBuf,
        /// A file of a similar name, which may be meant.
        similar: Option<PathBuf>,
    },
    /// The voxels were compressed with loss.
    LossyCompression {
        /// The compression's name.
        method: &'static str,
    },
}

impl std::fmt::Display for NiftiForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sform => "sform",
            Self::Qform => "qform",
        })
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
            Self::NonFiniteVoxels { count, zeroed: true } => {
                write!(f, "{count} voxels are NaN or infinite; they were read as 0")
            }
            Self::NonFiniteVoxels { count, zeroed: false } => {
                write!(
                    f,
                    "{count} voxels are NaN, infinite or beyond the range of 32-bit floats; they stay so"
                )
            }
            Self::ZeroSpacing { axis } => {
                let name = ["x", "y", "z"].get(*axis).copied().unwrap_or("?");
                write!(f, "the spacing along {name} is 0; it was read as 1 mm")
            }
            Self::EmptyDimension { dimension, found } => {
                write!(f, "dim[{dimension}] is {found}; it was read as 1")
            }
            Self::FormsDisagree { taken } => {
                write!(
                    f,
                    "sform and qform place the image differently; the {taken} was used, other programs may use \
                     the other"
                )
            }
            Self::BytesBehindVoxels => f.write_str("ignored data after the last voxel"),
            Self::RepeatedKey { key } => {
                write!(f, "the header has {key:?} more than once; the last value was used")
            }
            Self::NoSpacing => {
                f.write_str("the header has no voxel spacing; it was taken to be 1 mm along each axis")
            }
            Self::IgnoredField { key, instead } => {
                write!(f, "the header has {key:?} beside {instead:?}; {key:?} was ignored")
            }
            Self::NoSpacingFile { expected, similar } => {
                let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
                write!(f, "there is no spacing file {}", name(expected))?;
                if let Some(similar) = similar {
                    write!(f, " ({} is ignored)", name(similar))?;
                }
                f.write_str("; the spacing was taken to be 1 mm along each axis")
            }
            Self::LossyCompression { method } => {
                write!(f, "compressed with loss ({method}): values may be off by a few, labels may be wrong")
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

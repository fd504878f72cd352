//! What can go wrong with an image: one enum for the crate, each message with the file and the way out.

use std::path::{Path, PathBuf};

/// Why an image could not be read, written or resampled.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, e.g. `open it`.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not of the format its name says.
    #[error("{path}: not a {format} file: {found}. Check that the file is complete and that its ending tells its format", path = path.display())]
    NotThisFormat {
        /// The file.
        path: PathBuf,
        /// The format that was expected, e.g. `NIfTI`.
        format: &'static str,
        /// What the file has instead.
        found: String,
    },
    /// A field of the header has a value that no valid file has.
    #[error("{path}: {field} is {found}, expected {expected}. {advice}", path = path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The header field in the format's own words.
        field: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// The stream of a compressed file ends early or does not decode.
    #[error("{path}: the compressed data is damaged or incomplete ({source}). Copy or export the file again", path = path.display())]
    DamagedCompression {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// Fewer voxels are stored than the header says.
    #[error("{path}: the header says {expected} bytes of voxels but {found}. The file is damaged or incomplete: copy or export it again", path = path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes of voxel data that shape and type ask for.
        expected: u64,
        /// What is there, in words.
        found: String,
    },
    /// A valid file whose content this program does not take.
    #[error("{path}: {found} is not supported, expected {expected}. {advice}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What the file has.
        found: String,
        /// What would be read.
        expected: &'static str,
        /// What the user can do.
        advice: &'static str,
    },
    /// Several volumes in one file.
    #[error("{path}: the image has shape {shape:?} (x, y, z, ...), expected three dimensions. Store each channel or time point as a file of its own (case_0000, case_0001, ...)", path = path.display())]
    MoreThanThreeDimensions {
        /// The file.
        path: PathBuf,
        /// Shape as in the header, x first.
        shape: Vec<u64>,
    },
    /// Memory for the voxels is not to be had.
    #[error("{path}: no memory for {voxels} voxels. Use a machine with more memory or a smaller image", path = path.display())]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// Number of voxels.
        voxels: u64,
    },
    /// A part of an array was asked for that is not in the file, or as another number type.
    #[error("{path}: {asked} cannot be read from an array of {stored} and shape {shape:?}", path = path.display())]
    NotInArray {
        /// The file.
        path: PathBuf,
        /// What was asked for, in words.
        asked: String,
        /// Number type of the array.
        stored: String,
        /// Shape of the array in its axis order.
        shape: Vec<usize>,
    },
    /// Resampling was asked for something that has no meaning.
    #[error("cannot resample from shape {from:?} to {to:?} (z, y, x): {reason}")]
    Resample {
        /// Shape of the input (z, y, x).
        from: [usize; 3],
        /// Shape asked for (z, y, x).
        to: [usize; 3],
        /// What is wrong.
        reason: String,
    },
}

impl VolumeError {
    /// The operating system refused `action` on `path`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, VolumeError>;

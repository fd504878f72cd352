//! What can be wrong with a checkpoint or another pickled file.

use std::path::{Path, PathBuf};

use nnunet_pyformats::pickle::PickleError;

/// Why a checkpoint, a pickled file or a safetensors file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The pickle in the file is damaged, hostile or unsupported.
    #[error("{path}: {source}", path = path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PickleError,
    },
    /// The file is something else.
    #[error("{path}: {found}, expected {expected}. Check that this is the right file and that it was copied completely", path = path.display())]
    NotThisFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it ought to be.
        expected: &'static str,
    },
    /// A part of the file contradicts another.
    #[error("{path}: {part} has {found}, expected {expected}. The file is damaged or was not written by nnU-Net", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The member, tensor or entry.
        part: String,
        /// What it has.
        found: String,
        /// What it ought to have.
        expected: String,
    },
}

impl CheckpointError {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    pub(super) fn pickle(path: &Path, source: PickleError) -> Self {
        Self::Pickle { path: path.to_owned(), source }
    }

    pub(super) fn damaged(
        path: &Path,
        part: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            part: part.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

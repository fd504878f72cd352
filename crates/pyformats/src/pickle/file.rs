//! Pickled files: reading by path, and writing whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use nnunet_base::files::write_atomically;

use super::{Limits, PickleError, Protocol, Value, pickle, unpickle};

/// Why a pickled file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PickleFileError {
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
}

/// Reads a pickled file, such as the properties of a preprocessed case.
///
/// # Errors
/// When it cannot be read, is too large, or is not a pickle that is supported.
pub fn read_pickle_file(path: &Path) -> Result<Value, PickleFileError> {
    let read = |source| PickleFileError::Read { path: path.to_owned(), source };
    let damaged = |source| PickleFileError::Pickle { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(read)?.len();
    let limit = Limits::default().max_bytes;
    if usize::try_from(length).map_or(true, |l| l > limit) {
        return Err(damaged(PickleError::TooLarge { what: "bytes", limit }));
    }
    unpickle(&std::fs::read(path).map_err(read)?).map_err(damaged)
}

/// Writes a pickled file with protocol 4, whole or not at all.
///
/// # Errors
/// When the value cannot be pickled or the file cannot be written.
pub fn write_pickle_file(path: &Path, value: &Value) -> Result<(), PickleFileError> {
    let bytes = pickle(value, Protocol::Four)
        .map_err(|source| PickleFileError::Pickle { path: path.to_owned(), source })?;
    write_atomically(path, |file| file.write_all(&bytes))
        .map_err(|source| PickleFileError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_whole_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.pkl");
        for value in [Value::Int(1), Value::Int(2)] {
            write_pickle_file(&path, &value).unwrap();
            assert_eq!(read_pickle_file(&path).unwrap(), value);
        }
        assert_eq!(read_pickle_file(&path).unwrap(), Value::Int(2));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.pkl");
        assert!(read_pickle_file(&path).unwrap_err().to_string().contains("case.pkl: cannot be read"));
        std::fs::write(&path, b"\x80\x04\x95").unwrap();
        let message = read_pickle_file(&path).unwrap_err().to_string();
        assert!(message.contains("case.pkl: the pickle ends after 3 bytes"), "{message}");
        let missing = folder.path().join("missing").join("case.pkl");
        assert!(
            write_pickle_file(&missing, &Value::None).unwrap_err().to_string().contains("cannot be written")
        );
    }
}

//! Whole files: pickles by path, and writing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::error::CheckpointError;
use super::pickle::{Limits, PickleError, Protocol, Value, pickle, unpickle};

/// Reads a pickled file, such as the properties of a preprocessed case.
pub fn read_pickle_file(path: &Path) -> Result<Value, CheckpointError> {
    let length = std::fs::metadata(path).map_err(|e| CheckpointError::read(path, e))?.len();
    let limit = Limits::default().max_bytes;
    if usize::try_from(length).map_or(true, |l| l > limit) {
        return Err(CheckpointError::pickle(path, PickleError::TooLarge { what: "bytes", limit }));
    }
    let bytes = std::fs::read(path).map_err(|e| CheckpointError::read(path, e))?;
    unpickle(&bytes).map_err(|e| CheckpointError::pickle(path, e))
}

/// Writes a pickled file with protocol 4, by a temporary name.
pub fn write_pickle_file(path: &Path, value: &Value) -> Result<(), CheckpointError> {
    let bytes = pickle(value, Protocol::Four).map_err(|e| CheckpointError::pickle(path, e))?;
    write_file(path, |file| file.write_all(&bytes))
}

/// Writes a file, whole or not at all.
pub(super) fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    nnunet_files::write_atomically(path, fill).map_err(|source| CheckpointError::write(path, source))
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
        let failed = write_file(&path, |out| {
            out.write_all(b"half of it")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(
            failed.unwrap_err().to_string(),
            format!("{}: cannot be written: disk full", path.display())
        );
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

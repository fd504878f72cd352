//! What the fuzz targets share. Readers take paths, so each input becomes a file; see CONTRIBUTING.md for how to
//! run a target.
#![forbid(unsafe_code)]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Calls `read` with the path of a file that holds `bytes` and whose name ends with `ending`.
///
/// The file lies in memory where the system has such a folder, and is written anew by the next input.
pub fn with_file<T>(bytes: &[u8], ending: &str, read: impl FnOnce(&Path) -> T) -> T {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = folder.join(format!("nnunet-fuzz-{}{ending}", std::process::id()));
    std::fs::write(&path, bytes).expect("the input can be written");
    read(&path)
}

/// A zip archive with the given members, as they are.
pub fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, options).expect("the name is valid");
        zip.write_all(bytes).expect("memory is there");
    }
    zip.finish().expect("memory is there").into_inner()
}

//! What is in a folder.

use std::io;
use std::path::Path;

/// Names of the folders in `folder`, sorted. Names that are not UTF-8 are left out.
///
/// # Errors
/// It cannot be listed.
pub fn folders_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

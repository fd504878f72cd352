//! Writing files so that a killed run leaves either the old file or the new one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::atomic::write_atomically;
use super::destination::follow_links;
use super::name::temporary_name;

/// Writes `bytes` to a temporary file beside `path`, flushes it to the disk and renames it to `path`.
/// Creates missing parent folders. On an error the temporary file is removed and an existing `path`
/// is as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Like [`write_atomic`] for what is better streamed: `write` puts the content into the given file.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    make_parents(path)?;
    write_atomically(path, write)
}

fn make_parents(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    }
}

/// A folder under a temporary name, removed with all it holds when this is dropped.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes an empty folder beside `path`, and the parents of `path` where they are missing. If `path` is a symbolic
    /// link, beside what it points to.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let path = follow_links(path)?;
        make_parents(&path)?;
        let temporary = temporary_name(&path);
        fs::create_dir(&temporary)?;
        Ok(Self(temporary))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Renames the folder to `path`; a folder that was there is removed once the new one is in place. A symbolic link
    /// stays, and the folder that it points to is replaced.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        let path = follow_links(path)?;
        if !path.exists() {
            return fs::rename(&self.0, path);
        }
        let old = temporary_name(&path);
        fs::rename(&path, &old)?;
        fs::rename(&self.0, &path).inspect_err(|_| {
            // The error that matters is the first one; the old folder is never lost.
            let _ = fs::rename(&old, &path);
        })?;
        fs::remove_dir_all(old)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Renamed folders are no longer there; a leftover is only untidy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/file.txt");
        write_atomic(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_stay() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("disk/folder"), root.path().join("link"));
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let folder = TemporaryFolder::beside(&link).unwrap();
        fs::write(folder.path().join("new"), "").unwrap();
        folder.replace(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(target.join("new").is_file() && !target.join("old").exists());
    }

    #[test]
    fn folders_are_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/folder");
        for name in ["one", "two"] {
            let folder = TemporaryFolder::beside(&path).unwrap();
            fs::write(folder.path().join(name), name).unwrap();
            folder.replace(&path).unwrap();
        }
        assert!(path.join("two").is_file() && !path.join("one").exists());
        let unfinished = TemporaryFolder::beside(&path).unwrap();
        fs::write(unfinished.path().join("three"), "half").unwrap();
        drop(unfinished);
        assert!(path.join("two").is_file());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }
}

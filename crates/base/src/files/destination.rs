//! What a path to write to stands for.

use std::fs::{self, Permissions};
use std::io;
use std::path::{Path, PathBuf};

/// As many links in a row as Linux follows.
const MAX_LINKS: usize = 40;

/// Where the bytes go.
pub(crate) enum Destination {
    /// A regular file, existing or new.
    File {
        /// The file, no symbolic link.
        path: PathBuf,
        /// Permissions of the file that is replaced.
        permissions: Option<Permissions>,
    },
    /// A device, FIFO or pipe, which cannot be replaced.
    Stream,
}

impl Destination {
    /// Looks at what is at `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {
                Ok(Self::File { path: follow_links(path)?, permissions: Some(found.permissions()) })
            }
            Ok(found) if found.is_dir() => {
                let text = "this is a folder; expected the name of a file";
                Err(io::Error::new(io::ErrorKind::IsADirectory, text))
            }
            Ok(_) => Ok(Self::Stream),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::File { path: follow_links(path)?, permissions: None })
            }
            Err(error) => Err(error),
        }
    }
}

/// What `path` points to if it is a symbolic link, also one to nothing; else `path`.
///
/// # Errors
/// Links that cannot be read, or that point to each other in a circle.
pub fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                // Relative targets count from the folder of the link; absolute ones replace it.
                path = path.parent().map_or(target.clone(), |folder| folder.join(&target));
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links, one after the other or in a circle"))
}

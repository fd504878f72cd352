//! Whether something can be written, found out before the work whose result it is.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::name::temporary_name;

/// Fails if files cannot be created in `folder`, or `folder` itself cannot. Leaves nothing behind: a folder that does
/// not exist is tried in the closest parent that does.
///
/// # Errors
/// What the system says on creating a file there, with the path where it was tried if that is a parent.
pub fn ensure_writable_folder(folder: &Path) -> io::Result<()> {
    let here = PathBuf::from(".");
    let mut tried = if folder.as_os_str().is_empty() { here.as_path() } else { folder };
    loop {
        match fs::metadata(tried) {
            Ok(found) if found.is_dir() => break,
            Ok(_) => return Err(at(tried, folder, io::ErrorKind::NotADirectory.into())),
            // The second kind: a parent is a file, which is then named.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                // A link to nothing is no place for a folder.
                if fs::symlink_metadata(tried).is_ok() {
                    return Err(at(tried, folder, error));
                }
                tried = match tried.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    Some(_) => &here,
                    None => return Err(error),
                };
            }
            Err(error) => return Err(at(tried, folder, error)),
        }
    }
    create_and_remove(&temporary_name(&tried.join("writable"))).map_err(|error| at(tried, folder, error))
}

/// Fails if the file `path` cannot be created or replaced. Devices and FIFOs are not opened: that may wait for a reader.
///
/// # Errors
/// What the system says; [`io::ErrorKind::IsADirectory`] for a folder.
pub fn ensure_writable_file(path: &Path) -> io::Result<()> {
    match Destination::of(path)? {
        Destination::Stream => Ok(()),
        Destination::File { path: target, .. } => {
            let folder = target.parent().unwrap_or(Path::new(""));
            // Missing folders are made for a path that was given, not for what a link points to.
            if target != path && !folder.as_os_str().is_empty() && !folder.is_dir() {
                let text = format!("a link to {}, whose folder does not exist", target.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            ensure_writable_folder(folder)
        }
    }
}

fn create_and_remove(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?;
    fs::remove_file(path)
}

/// Adds where it was tried, if that is not what was asked for.
fn at(tried: &Path, asked: &Path, error: io::Error) -> io::Error {
    if tried == asked {
        return error;
    }
    io::Error::new(error.kind(), format!("{}: {error}", tried.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        ensure_writable_folder(folder.path()).unwrap();
        ensure_writable_folder(&at("new/deep")).unwrap();
        ensure_writable_file(&at("new.json")).unwrap();
        fs::write(at("old.json"), "old").unwrap();
        ensure_writable_file(&at("old.json")).unwrap();
        assert_eq!(fs::read(at("old.json")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ensure_writable_folder(&file.join("new/deep")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
        assert_eq!(ensure_writable_folder(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(ensure_writable_file(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(ensure_writable_file(&file.join("summary.json")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_as_writable_as_what_it_points_to() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("new.json", at("link")).unwrap();
        ensure_writable_file(&at("link")).unwrap();
        crate::files::write_atomic(&at("link"), b"text").unwrap();
        symlink("nowhere/new.json", at("dangling")).unwrap();
        let error = ensure_writable_file(&at("dangling")).unwrap_err();
        assert!(error.to_string().contains("nowhere/new.json, whose folder does not exist"), "{error}");
        assert!(crate::files::write_atomic(&at("dangling"), b"text").is_err());
        symlink("circle", at("circle")).unwrap();
        assert!(ensure_writable_file(&at("circle")).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_takes_no_files_is_found_out() {
        // Nobody, not even root, creates files here.
        assert!(ensure_writable_folder(Path::new("/proc/self")).is_err());
        ensure_writable_file(Path::new("/dev/null")).unwrap();
    }
}

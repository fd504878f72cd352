//! Files that appear whole or not at all: written under a temporary name, flushed, renamed. A run that is killed leaves
//! the old file or the new one.
//!
//! What is not a regular file is never replaced: devices and FIFOs are written through, and a symbolic link stays while
//! the file it points to is replaced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter};
use std::path::Path;

use super::destination::Destination;
use super::name::temporary_name;

/// Capacity of the buffer in front of a file.
const BUFFER: usize = 1 << 18;

/// Lets `fill` write a temporary file beside `path`, flushes it to the disk and renames it to `path`. A file that is
/// replaced hands its permissions on. If `path` is a symbolic link, this happens to what it points to, whether that
/// exists or not. Devices and FIFOs are written to directly.
///
/// # Errors
/// Those of `fill` and of the system, among them [`io::ErrorKind::IsADirectory`]. Nothing of the new file is left then,
/// and an old one is as it was.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    match Destination::of(path)? {
        Destination::Stream => write_through(path, fill),
        Destination::File { path, permissions } => replace(&path, permissions, fill),
    }
}

fn replace(
    path: &Path,
    permissions: Option<Permissions>,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let write = || {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        if let Some(permissions) = permissions {
            // Some network file systems have none to set; the content is what counts.
            let _ = fs::set_permissions(&temporary, permissions);
        }
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // The error that matters is the first one; a leftover is only untidy.
        let _ = fs::remove_file(&temporary);
    })
}

fn write_through(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let mut out = BufWriter::with_capacity(BUFFER, file);
    fill(&mut out)?;
    // Devices and FIFOs have no disk to be flushed to.
    out.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        for text in ["one", "two"] {
            write_atomically(&path, |out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(error.unwrap_err().to_string(), "disk full");
        assert_eq!(fs::read(&path).unwrap(), b"two", "the old content survives a failed write");
        assert!(write_atomically(&folder.path().join("missing/file.txt"), |_| Ok(())).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(folder.path(), |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(folder.path().is_dir());
    }

    #[test]
    fn names_may_be_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().unwrap();
        for stem in ["x".repeat(248), "\u{e4}".repeat(124)] {
            let path = folder.path().join(format!("{stem}.nii.gz"));
            write_atomically(&path, |out| out.write_all(b"whole")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"whole");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
        use std::process::Command;

        use super::*;

        #[test]
        fn permissions_of_a_replaced_file_are_kept() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file.txt");
            fs::write(&path, "one").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
            write_atomically(&path, |out| out.write_all(b"two")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(fs::read(&path).unwrap(), b"two");
        }

        #[test]
        fn links_stay_and_their_targets_are_replaced() {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            fs::create_dir(at("elsewhere")).unwrap();
            fs::write(at("elsewhere/target"), "old").unwrap();
            // A link to a link, both relative; and one to a file that does not exist yet.
            symlink("elsewhere/middle", at("link")).unwrap();
            symlink("target", at("elsewhere/middle")).unwrap();
            symlink(at("elsewhere/new"), at("dangling")).unwrap();
            let inode = fs::metadata(at("elsewhere/target")).unwrap().ino();
            for name in ["link", "dangling"] {
                write_atomically(&at(name), |out| out.write_all(b"fresh")).unwrap();
                assert!(fs::symlink_metadata(at(name)).unwrap().is_symlink(), "{name}");
            }
            assert!(fs::symlink_metadata(at("elsewhere/middle")).unwrap().is_symlink());
            for name in ["elsewhere/target", "elsewhere/new"] {
                assert_eq!(fs::read(at(name)).unwrap(), b"fresh", "{name}");
            }
            assert_ne!(fs::metadata(at("elsewhere/target")).unwrap().ino(), inode, "replaced whole");
            assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 3);

            symlink("circle", at("circle")).unwrap();
            assert!(write_atomically(&at("circle"), |_| Ok(())).is_err());
        }

        #[test]
        fn devices_and_fifos_are_written_through() {
            let before = fs::metadata("/dev/null").unwrap();
            write_atomically(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
            let after = fs::metadata("/dev/null").unwrap();
            assert!(after.file_type().is_char_device() && after.ino() == before.ino());

            let folder = tempfile::tempdir().unwrap();
            let fifo = folder.path().join("fifo");
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::read(fifo).unwrap()
            });
            write_atomically(&fifo, |out| out.write_all(b"through")).unwrap();
            assert_eq!(reader.join().unwrap(), b"through");
            assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}

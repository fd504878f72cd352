//! The file system that a folder is on: its kind, whether it is in the network, and the space that is left.

use std::path::{Path, PathBuf};

/// Kinds of file systems that are reached over the network, as Linux names them.
const NETWORK: [&str; 20] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse.cephfs",
    "fuse.davfs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "gfs2",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

/// What a folder is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Its kind, e.g. `ext4` or `nfs4`; only Linux says it.
    pub kind: Option<String>,
    /// Whether it is reached over the network, as far as the kind tells.
    pub is_network: bool,
    /// Bytes that this user may still write; Unix says it.
    pub free: Option<u64>,
}

impl FileSystem {
    /// The file system of `path`, or of its closest parent that exists.
    pub fn of(path: &Path) -> Self {
        let Some(path) = existing(path) else { return Self::default() };
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let kind = kind_of(&mounts, &path);
        Self {
            is_network: kind.as_deref().is_some_and(|kind| NETWORK.contains(&kind)),
            kind,
            free: free(&path),
        }
    }
}

/// The absolute path, without links, of `path` or its closest parent that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|path| path.canonicalize().ok())
}

/// The kind of the mount in the text of `/proc/self/mountinfo` that `path` is on: the longest mount point above it, of several
/// the last, which covers the others.
fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        // ID PARENT DEVICE ROOT POINT OPTIONS [OPTIONAL ...] - KIND SOURCE OPTIONS
        let (Some(point), Some((_, end))) = (line.split(' ').nth(4), line.split_once(" - ")) else {
            continue;
        };
        let (Some(kind), point) = (end.split(' ').next(), unescaped(point)) else { continue };
        if path.starts_with(&point) && found.is_none_or(|(length, _)| point.len() >= length) {
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind.to_owned())
}

/// The text with blanks, tabs, ends of lines and backslashes, which the kernel writes as `\040` and the like.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /data rw - nfs4 server:/export rw
31 30 0:27 / /data/my\\040images rw,relatime shared:5 master:2 - fuse.sshfs me@host: rw
32 22 0:28 / /data rw - xfs /dev/sdb rw
";

    #[test]
    fn the_longest_mount_point_counts_and_of_equal_ones_the_last() {
        let kind = |path: &str| kind_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(kind("/home"), "ext4");
        assert_eq!(kind("/data/raw"), "xfs");
        assert_eq!(kind("/data/my images/a"), "fuse.sshfs");
        assert_eq!(kind("/database"), "ext4", "only whole names");
        assert_eq!(kind_of("", Path::new("/")), None);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_on_the_file_system_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let (here, below) = (FileSystem::of(folder.path()), FileSystem::of(&folder.path().join("a/b")));
        assert_eq!((&here.kind, here.is_network), (&below.kind, below.is_network));
        if cfg!(target_os = "linux") {
            assert!(here.kind.is_some() && here.free.is_some(), "{here:?}");
        }
    }
}

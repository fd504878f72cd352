//! Files that appear whole or not at all: written under a temporary name, flushed, renamed.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, VolumeError};

/// Distinguishes files that threads of this process write at the same time.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Removes the temporary file unless it was renamed.
struct Temporary {
    path: PathBuf,
    keep: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep {
            // The error that led here is the one worth reporting.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Calls `fill` with a writer and puts what it wrote at `path`, replacing a file that is there.
///
/// If anything fails, an old file at `path` stays as it was and nothing else is left behind.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let hidden = path.with_file_name(format!(".{name}.{}.{number}.partial", std::process::id()));
    let file = File::create(&hidden).map_err(|e| VolumeError::io(path, "create it", e))?;
    let mut temporary = Temporary { path: hidden, keep: false };
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    let finish = || -> std::io::Result<()> {
        fill(&mut writer)?;
        std::io::Write::flush(&mut writer)?;
        writer.get_ref().sync_all()
    };
    finish().map_err(|e| VolumeError::io(path, "write it", e))?;
    drop(writer);
    std::fs::rename(&temporary.path, path).map_err(|e| VolumeError::io(path, "put it in place", e))?;
    temporary.keep = true;
    Ok(())
}

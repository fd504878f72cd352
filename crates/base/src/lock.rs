//! Locks on folders that two runs must not work in at the same time.
//!
//! A lock is the operating system's lock on a small file: it ends with the process that holds it, however that ends, so nothing stale is
//! left behind. The file stays where it is; its text says who holds the lock, for the error of whoever comes second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::progress::{Event, Progress};

/// How often a lock is tried to be shared, and the time in between.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// A folder that another run is working in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{folder}: in use by {holder}; {advice}", folder = folder.display())]
pub struct FolderInUse {
    /// The folder.
    folder: PathBuf,
    /// The runs that hold it, as far as they can be told.
    holder: String,
    /// What to do.
    advice: &'static str,
}

/// Why a folder could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another run holds it.
    InUse(FolderInUse),
    /// The file of the lock cannot be opened or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Who may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else: the holder changes what is in the folder.
    Alone,
    /// Others that hold it `Together` too: they only read.
    Together,
}

/// A lock to take.
#[derive(Debug, Clone, Copy)]
pub struct LockRequest<'a> {
    /// The folder that is protected, for messages.
    pub folder: &'a Path,
    /// The file that is locked.
    pub file: &'a Path,
    /// With whom.
    pub hold: Hold,
    /// What the holder is, e.g. "a training of fold 0".
    pub what: &'a str,
    /// What to do if another run holds the lock.
    pub advice: &'static str,
}

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl Drop for FolderLock {
    /// Empties the file if nobody else holds the lock, so that finished runs leave the same whatever they were.
    fn drop(&mut self) {
        if self.file.unlock().is_ok() && self.file.try_lock().is_ok() {
            // The lock itself ends with the file.
            let _ = self.file.set_len(0);
        }
    }
}

impl LockRequest<'_> {
    /// Takes the lock without waiting. `None` where the file system has no locks, after a warning.
    ///
    /// # Errors
    /// Another run holds it, or the file of the lock cannot be made.
    pub fn take(&self, progress: &dyn Progress) -> Result<Option<FolderLock>, LockError> {
        let mut file =
            match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.file) {
                Ok(file) => file,
                Err(error) if self.hold == Hold::Together && is_read_only(&error) => {
                    self.warn(&error, progress);
                    return Ok(None);
                }
                Err(source) => return Err(self.io(source)),
            };
        let alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) if self.hold == Hold::Together => false,
            Err(TryLockError::WouldBlock) => return Err(LockError::InUse(self.in_use(&mut file))),
            Err(TryLockError::Error(error)) => {
                self.warn(&error, progress);
                return Ok(None);
            }
        };
        if alone {
            // What it says is of runs that have ended. As all of this text it only helps to find the holder.
            let _ = file.set_len(0);
        }
        if self.hold == Hold::Together {
            if alone {
                file.unlock().map_err(|e| self.io(e))?;
            }
            match share(&file) {
                Ok(()) => (),
                Err(TryLockError::WouldBlock) => return Err(LockError::InUse(self.in_use(&mut file))),
                Err(TryLockError::Error(error)) => {
                    self.warn(&error, progress);
                    return Ok(None);
                }
            }
        }
        // Runs that hold the lock together write at the same time; each appends one line in one piece.
        let line = format!("{} ({})\n", self.what, this_process());
        let _ = OpenOptions::new()
            .append(true)
            .open(self.file)
            .and_then(|mut end| end.write_all(line.as_bytes()));
        Ok(Some(FolderLock { file }))
    }

    fn io(&self, source: io::Error) -> LockError {
        LockError::Io { path: self.file.to_owned(), source }
    }

    fn in_use(&self, file: &mut File) -> FolderInUse {
        let mut text = String::new();
        // Where locks keep others from reading, or the holder has not written yet, it stays unknown.
        let _ = file.take(10_000).read_to_string(&mut text);
        let holders: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let holder = if holders.is_empty() { "another run".to_owned() } else { holders.join(", ") };
        FolderInUse { folder: self.folder.to_owned(), holder, advice: self.advice }
    }

    fn warn(&self, error: &io::Error, progress: &dyn Progress) {
        progress.event(Event::Warning(&format!(
            "{}: cannot be locked ({error}); make sure that no other run works in it",
            self.folder.display()
        )));
    }
}

/// Locks `file` together with others. Each of them holds it alone for a moment when it begins, so several that begin at once try again.
fn share(file: &File) -> Result<(), TryLockError> {
    for _ in 0..ATTEMPTS {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
    file.try_lock_shared()
}

/// The file that is locked for a folder in which only its own files may be: hidden, beside it.
pub fn lock_beside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.lock"))
}

/// Whether files cannot be made there because one may only read.
fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// This process, for people who look for it.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let on = if host.trim().is_empty() { String::new() } else { format!(" on {}", host.trim()) };
    format!("process {}{on}, since {}", std::process::id(), jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::progress::Silent;

    fn request<'a>(folder: &'a Path, file: &'a Path, hold: Hold, what: &'a str) -> LockRequest<'a> {
        LockRequest { folder, file, hold, what, advice: "wait for it to end" }
    }

    fn message(result: Result<Option<FolderLock>, LockError>) -> String {
        match result {
            Err(LockError::InUse(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_one_run_holds_a_lock_alone_and_the_next_is_told_which() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("lock");
        // What a killed run left says nothing.
        std::fs::write(&file, "a killed run (process 1)\n").unwrap();
        let training = request(root.path(), &file, Hold::Alone, "a training");
        let held = training.take(&Silent).unwrap();
        let second = message(training.take(&Silent));
        let expected =
            format!("{}: in use by a training (process {}", root.path().display(), std::process::id());
        assert!(second.starts_with(&expected) && second.ends_with("; wait for it to end"), "{second}");
        drop(held);
        assert_eq!(std::fs::read(&file).unwrap(), b"", "a run that has ended says nothing");
        assert!(training.take(&Silent).unwrap().is_some());
    }

    #[test]
    fn readers_share_a_lock_and_keep_a_writer_out() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("lock");
        let take = |hold, what| request(root.path(), &file, hold, what).take(&Silent);
        let one = take(Hold::Together, "fold 0").unwrap();
        let two = take(Hold::Together, "fold 1").unwrap();
        let refused = message(take(Hold::Alone, "preprocessing"));
        assert!(
            refused.contains("in use by fold 0 (process") && refused.contains(", fold 1 (process"),
            "{refused}"
        );
        drop((one, two));
        assert_eq!(std::fs::read(&file).unwrap(), b"");
        let writer = take(Hold::Alone, "preprocessing").unwrap();
        let refused = message(take(Hold::Together, "fold 2"));
        assert!(
            refused.contains("in use by preprocessing (process") && !refused.contains("fold"),
            "{refused}"
        );
        drop(writer);
        assert!(take(Hold::Together, "fold 2").unwrap().is_some());
    }

    #[test]
    fn readers_that_begin_at_once_do_not_refuse_each_other() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let file = root.path().join(format!("lock {round}"));
            let begin = std::sync::Barrier::new(5);
            std::thread::scope(|scope| {
                for _ in 0..5 {
                    scope.spawn(|| {
                        begin.wait();
                        let held =
                            request(root.path(), &file, Hold::Together, "a reader").take(&Silent).unwrap();
                        begin.wait();
                        drop(held);
                    });
                }
            });
        }
    }

    #[test]
    fn readers_do_without_where_no_lock_can_be_made() {
        struct Warnings(Mutex<Vec<String>>);
        impl Progress for Warnings {
            fn event(&self, event: Event<'_>) {
                if let Event::Warning(text) = event {
                    self.0.lock().unwrap().push(text.to_owned());
                }
            }
        }
        // Files there are made by the kernel only, whoever asks.
        let folder = Path::new("/sys/kernel");
        if !folder.exists() {
            return;
        }
        let file = folder.join("nnunet.lock");
        let warnings = Warnings(Mutex::default());
        assert!(request(folder, &file, Hold::Together, "a reader").take(&warnings).unwrap().is_none());
        let warnings = warnings.0.into_inner().unwrap();
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("/sys/kernel: cannot be locked"),
            "{warnings:?}"
        );
        let alone = request(folder, &file, Hold::Alone, "a writer").take(&Silent);
        assert!(matches!(alone, Err(LockError::Io { path, .. }) if path == file));
    }
}

//! `--log-file`: every event of a run, each line with the time.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use jiff::Timestamp;
use nnunet::progress::Event;

use crate::output;
use crate::progress::epoch_line;

/// A file that lines are appended to. Clones write to the same one.
#[derive(Debug, Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// `None` after a failure, which is said once.
    file: Arc<Mutex<Option<File>>>,
}

impl LogFile {
    /// Opens or creates the file; what is in it stays.
    ///
    /// # Errors
    /// It cannot be written, or is something that may keep a writer waiting, like a FIFO.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("{}: this log file cannot be written", path.display());
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            bail!("{}: expected a regular file, or a name that is free", cannot());
        }
        let file = OpenOptions::new().append(true).create(true).open(path).with_context(cannot)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(Some(file))) })
    }

    /// Appends `text`, every line of it with the time and `kind`, in one piece: lines of several runs do not mix.
    pub(crate) fn append(&self, kind: &str, text: &str) {
        let now = Timestamp::now();
        let lines: String = text.lines().map(|line| format!("{now:.3} {kind} {line}\n")).collect();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = file.as_mut().map(|file| file.write_all(lines.as_bytes())) {
            *file = None;
            output::remark(&format!("warning: {}: the log ends here: {error}", self.path.display()));
        }
    }

    /// Appends an event.
    pub(crate) fn event(&self, event: &Event<'_>) {
        match *event {
            Event::Started { stage, total } => self.append("started", &format!("{stage}: 0/{total}")),
            Event::Advanced { done, detail } => {
                self.append("advanced", format!("{done} {detail}").trim_end())
            }
            Event::EpochFinished(report) => self.append("epoch", &epoch_line(report)),
            Event::Finished => self.append("finished", "stage"),
            Event::Message(text) => self.append("message", text),
            Event::Warning(text) => self.append("warning", text),
            // Of a later version of the libraries.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_whole_with_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.log");
        std::fs::write(&path, "before\n").unwrap();
        let log = LogFile::open(&path).unwrap();
        log.event(&Event::Started { stage: "predict", total: 2 });
        log.event(&Event::Warning("a.nii.gz: guessed\nsecond line"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "before"));
        for (line, end) in
            [(1, " started predict: 0/2"), (2, " warning a.nii.gz: guessed"), (3, " warning second line")]
        {
            let (time, rest) = lines[line].split_at(24);
            assert!(time.parse::<Timestamp>().is_ok() && rest == end, "{}", lines[line]);
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(LogFile::open(folder.path()).unwrap_err().to_string().contains("expected a regular file"));
        assert!(LogFile::open(&folder.path().join("none/run.log")).is_err());
    }
}

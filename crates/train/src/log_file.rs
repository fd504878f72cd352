//! `training_log_*.txt`: what a training says, line by line, with the local time in front.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Zoned;

/// A log file that is flushed after every line, so that it tells how far a killed run came.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Opens a new `training_log_YEAR_MONTH_DAY_HH_MM_SS.txt` in `folder`, named after `now`.
    ///
    /// # Errors
    /// When the folder or the file cannot be created.
    pub fn create(folder: &Path, now: &Zoned) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = Self::path_in(folder, now);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Where a log begun at `now` in `folder` is.
    pub fn path_in(folder: &Path, now: &Zoned) -> PathBuf {
        folder.join(now.strftime("training_log_%Y_%-m_%-d_%H_%M_%S.txt").to_string())
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `text` with the time in front.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn line(&self, text: &str) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(file, "{}: {text}", Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.6f"))?;
        file.flush()
    }
}

/// The logs in `folder`, this program's or the reference's, in the order in which they were begun.
///
/// # Errors
/// A folder that cannot be listed.
pub fn logs_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(time) = name.strip_prefix("training_log_").and_then(|n| n.strip_suffix(".txt")) else {
            continue;
        };
        // Months and days have no leading zeros, so that the names do not sort as text.
        let time: Vec<u32> = time.split('_').filter_map(|part| part.parse().ok()).collect();
        logs.push((time, entry.path()));
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// What a line of a log says, without the time in front: `2024-02-29 12:05:09.123456: Epoch 3`.
pub fn said(line: &str) -> &str {
    line.split_once(": ").map_or("", |(_, said)| said.trim())
}

/// The epoch whose beginning a line says.
pub fn begun_epoch(said: &str) -> Option<usize> {
    // "Epoch time: 16.57 s" is no number.
    said.strip_prefix("Epoch ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_file_after_the_time_and_stamps_lines() {
        let folder = tempfile::tempdir().unwrap();
        let now: Zoned = "2024-02-29T12:05:09+00:00[UTC]".parse().unwrap();
        let log = LogFile::create(folder.path(), &now).unwrap();
        assert_eq!(log.path().file_name().unwrap(), "training_log_2024_2_29_12_05_09.txt");
        log.line("Epoch 0").unwrap();
        log.line("train_loss -0.5").unwrap();
        let text = std::fs::read_to_string(log.path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let (stamp, rest) = lines[0].split_at("2024-02-29 12:05:09.123456".len());
        assert!(stamp.starts_with("20") && rest == ": Epoch 0", "{}", lines[0]);
    }
}

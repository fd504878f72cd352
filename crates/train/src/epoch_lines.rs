//! `epochs.jsonl`: one JSON object a line for each epoch, with the keys of the records of `--progress json`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use nnunet_base::files::write_atomic;
use nnunet_base::progress::EpochReport;
use serde_json::Value;

/// A file of epochs that grows.
#[derive(Debug)]
pub(super) struct EpochLines {
    file: File,
}

impl EpochLines {
    /// Opens the file at `path` with the epochs before `first_epoch` that an earlier run of the training left.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path, first_epoch: usize) -> io::Result<Self> {
        let earlier = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let epoch = |line: &str| serde_json::from_str::<Value>(line).ok()?["epoch"].as_u64();
        let kept = earlier.lines().filter(|line| epoch(line).is_some_and(|epoch| epoch < first_epoch as u64));
        let text: String = kept.flat_map(|line| [line, "\n"]).collect();
        write_atomic(path, text.as_bytes())?;
        Ok(Self { file: OpenOptions::new().append(true).open(path)? })
    }

    /// Adds an epoch. Numbers that are not finite become null.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn add(&mut self, report: &EpochReport) -> io::Result<()> {
        writeln!(self.file, "{}", Value::Object(report.to_json()))?;
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resumed_file_has_each_epoch_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs.jsonl");
        let report = |epoch: usize, train_loss: f64| EpochReport {
            epoch,
            train_loss,
            validation_loss: 0.5,
            pseudo_dice: vec![0.25, f64::NAN],
            moving_average: 0.25,
            is_best: false,
            learning_rate: 0.01,
            seconds: 2.0,
            waiting: 0.0,
        };
        let mut lines = EpochLines::open(&path, 0).unwrap();
        (0..3).for_each(|epoch| lines.add(&report(epoch, 1.0)).unwrap());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"epoch\": 3, \"tra").unwrap();
        let mut lines = EpochLines::open(&path, 2).unwrap();
        lines.add(&report(2, 0.75)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let found: Vec<_> = read.iter().map(|r| (r["epoch"].as_u64(), r["train_loss"].as_f64())).collect();
        assert_eq!(found, [(Some(0), Some(1.0)), (Some(1), Some(1.0)), (Some(2), Some(0.75))]);
        assert_eq!(read[2]["pseudo_dice"], json!([0.25, null]));
    }
}

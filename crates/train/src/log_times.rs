//! How long a training took, by its logs, this program's or the reference's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::log_file::{begun_epoch, logs_in, said};

/// Seconds that the epochs of the training in the folder `fold` took, over all its runs: an epoch that was repeated after
/// an interruption counts once, and a training that was started anew replaces the one before. `None` without a complete
/// epoch.
///
/// # Errors
/// A folder or a log that cannot be read, with its path.
pub fn training_seconds(fold: &Path) -> Result<Option<f64>, (PathBuf, io::Error)> {
    let mut epochs = BTreeMap::new();
    for log in logs_in(fold).map_err(|e| (fold.to_owned(), e))? {
        let bytes = std::fs::read(&log).map_err(|e| (log.clone(), e))?;
        add_epochs(&String::from_utf8_lossy(&bytes), &mut epochs);
    }
    Ok((!epochs.is_empty()).then(|| epochs.values().sum()))
}

/// Adds the epochs that a log says are complete.
fn add_epochs(log: &str, epochs: &mut BTreeMap<usize, f64>) {
    let mut current = None;
    for line in log.lines() {
        let said = said(line);
        if let Some(seconds) = said.strip_prefix("Epoch time: ").and_then(|text| text.strip_suffix(" s")) {
            if let (Some(epoch), Ok(seconds)) = (current, seconds.parse()) {
                epochs.insert(epoch, seconds);
            }
        } else if let Some(epoch) = begun_epoch(said) {
            // Whatever was trained from here on before has been given up.
            epochs.retain(|earlier, _| *earlier < epoch);
            current = Some(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_counts_once_and_a_new_training_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, lines: &[&str]| {
            let stamped: String =
                lines.iter().map(|line| format!("2024-02-29 12:05:09.123456: {line}\n")).collect();
            std::fs::write(folder.path().join(name), stamped).unwrap();
        };
        assert_eq!(training_seconds(folder.path()).unwrap(), None);
        write(
            "training_log_2024_9_1_8_00_00.txt",
            &["Epoch 0", "Epoch time: 100.0 s", "Epoch 1", "Epoch time: 100.0 s"],
        );
        // October sorts before September as text. Epoch 1 of the new training was repeated.
        write(
            "training_log_2024_10_1_8_00_00.txt",
            &["Epoch 0", "Epoch time: 2.5 s", "Epoch 1", "Epoch time: 50.0 s"],
        );
        write(
            "training_log_2024_10_1_9_00_00.txt",
            &["Epoch 1", "train_loss -0.5", "Epoch time: 1.25 s", "Epoch 2"],
        );
        assert_eq!(training_seconds(folder.path()).unwrap(), Some(3.75));
    }
}

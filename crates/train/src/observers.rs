//! What a fold's folder records of a training while it runs: the log and the picture of its curves.

use std::path::{Path, PathBuf};

use nnunet_base::progress::EpochReport;

use super::error::TrainError;
use super::fresh::Fresh;
use super::history::History;
use super::log_file::LogFile;
use super::progress_plot::write_progress_plot;

/// `training_log_*.txt` and `progress.png`.
#[derive(Debug)]
pub(super) struct FoldRecords {
    log: LogFile,
    plot: PathBuf,
}

impl FoldRecords {
    /// Begins a log in the folder `fold`, which is `fresh`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn create(fold: &Path, fresh: &mut Fresh) -> Result<Self, TrainError> {
        let now = jiff::Zoned::now();
        fresh.note(&LogFile::path_in(fold, &now));
        let log =
            LogFile::create(fold, &now).map_err(|source| TrainError::Io { path: fold.to_owned(), source })?;
        Ok(Self { log, plot: fold.join("progress.png") })
    }

    /// The log.
    pub(super) fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// Writes a line to the log.
    pub(super) fn line(&self, line: &str) -> Result<(), TrainError> {
        let path = self.log.path();
        self.log.line(line).map_err(|source| TrainError::Io { path: path.to_owned(), source })
    }

    /// An epoch begins.
    pub(super) fn epoch_started(&self, epoch: usize, learning_rate: f64) -> Result<(), TrainError> {
        self.line("")?;
        self.line(&format!("Epoch {epoch}"))?;
        self.line(&format!("Current learning rate: {}", rounded(learning_rate, 5)))
    }

    /// An epoch is complete.
    pub(super) fn epoch_finished(&self, report: &EpochReport) -> Result<(), TrainError> {
        let dice: Vec<String> = report.pseudo_dice.iter().map(|&dice| rounded(dice, 4).to_string()).collect();
        self.line(&format!("train_loss {}", rounded(report.train_loss, 4)))?;
        self.line(&format!("val_loss {}", rounded(report.validation_loss, 4)))?;
        self.line(&format!("Pseudo dice [{}]", dice.join(", ")))?;
        self.line(&format!("Epoch time: {} s", rounded(report.seconds, 2)))?;
        self.line(&format!("Waited for batches: {} %", rounded(100.0 * report.waiting, 1)))?;
        if report.is_best {
            let average = rounded(report.moving_average, 4);
            self.line(&format!("New best moving average of the pseudo Dice: {average}"))?;
        }
        Ok(())
    }

    /// Draws the curves so far.
    pub(super) fn draw(&self, history: &History) -> Result<(), TrainError> {
        write_progress_plot(history, &self.plot)
            .map_err(|source| TrainError::Io { path: self.plot.clone(), source })
    }
}

/// `value` with at most `digits` decimals, as NumPy prints rounded numbers.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

//! What a fold's folder records of a training while it runs: the log, the picture of its curves and, if they are wanted, the
//! epochs for other programs.

use std::path::{Path, PathBuf};

use nnunet_base::progress::EpochReport;
use nnunet_dataset::{DatasetJson, LabelManager, LabelOrRegion};
use nnunet_recipe::{EpochLog, Recipe};

use super::epoch_lines::EpochLines;
use super::error::TrainError;
use super::event_file::{EventFile, Value};
use super::fresh::Fresh;
use super::history::History;
use super::log_file::LogFile;
use super::progress_plot::write_progress_plot;
use super::sample_picture::Picture;

/// `training_log_*.txt`, `progress.png`, `epochs.jsonl` and TensorBoard's event file.
#[derive(Debug)]
pub(super) struct FoldRecords {
    log: LogFile,
    plot: PathBuf,
    lines: Option<(PathBuf, EpochLines)>,
    events: Option<Events>,
}

/// An event file of TensorBoard with what is written to it.
#[derive(Debug)]
struct Events {
    path: PathBuf,
    file: EventFile,
    /// Tags of the pseudo-Dice of each class.
    tags: Vec<String>,
    /// A picture is added each so many epochs; 0 for none.
    picture_epochs: usize,
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
        Ok(Self { log, plot: fold.join("progress.png"), lines: None, events: None })
    }

    /// Opens what `recipe` wants recorded of the epochs from `first_epoch` on of a training of `classes`. What an earlier run
    /// recorded of epochs before stays if the training goes on from there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(
        &mut self,
        recipe: &Recipe,
        first_epoch: usize,
        classes: Vec<String>,
    ) -> Result<(), TrainError> {
        if recipe.log.contains(&EpochLog::JsonLines) {
            let path = self.plot.with_file_name("epochs.jsonl");
            let lines = EpochLines::open(&path, first_epoch).map_err(|e| io(&path, e))?;
            self.lines = Some((path, lines));
        }
        if recipe.log.contains(&EpochLog::TensorBoard) {
            let path = self.plot.with_file_name("tensorboard").join("events.out.tfevents");
            let file = EventFile::open(&path, first_epoch).map_err(|e| io(&path, e))?;
            let tags = classes.into_iter().map(|class| format!("pseudo_dice/{class}")).collect();
            self.events = Some(Events { path, file, tags, picture_epochs: recipe.picture_epochs });
        }
        Ok(())
    }

    /// Whether a picture of a validation sample is wanted in `epoch`.
    pub(super) fn wants_picture(&self, epoch: usize) -> bool {
        self.events.as_ref().is_some_and(|e| e.picture_epochs > 0 && epoch.is_multiple_of(e.picture_epochs))
    }

    /// Adds a picture of a validation sample.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn add_picture(&mut self, epoch: usize, picture: &Picture) -> Result<(), TrainError> {
        let Some(Events { path, file, .. }) = &mut self.events else { return Ok(()) };
        let value = Value::Image("validation: input, target, prediction", picture);
        file.add(epoch, &[value]).map_err(|e| io(path, e))
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
    pub(super) fn epoch_finished(&mut self, report: &EpochReport) -> Result<(), TrainError> {
        if let Some((path, lines)) = &mut self.lines {
            lines.add(report).map_err(|e| io(path, e))?;
        }
        if let Some(Events { path, file, tags, .. }) = &mut self.events {
            let mut values = vec![
                Value::Scalar("loss/train", report.train_loss),
                Value::Scalar("loss/validation", report.validation_loss),
                Value::Scalar("moving_average_of_pseudo_dice", report.moving_average),
                Value::Scalar("learning_rate", report.learning_rate),
                Value::Scalar("epoch/seconds", report.seconds),
                Value::Scalar("epoch/share_of_waiting", report.waiting),
            ];
            let dice = tags.iter().zip(&report.pseudo_dice);
            values.extend(dice.map(|(tag, dice)| Value::Scalar(tag, *dice)));
            file.add(report.epoch, &values).map_err(|e| io(path, e))?;
        }
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

/// The names of the foreground labels or regions in dataset.json, in the order of the pseudo-Dice.
pub(super) fn class_names(dataset: &DatasetJson, labels: &LabelManager) -> Vec<String> {
    let name = |class: &LabelOrRegion| class.name_in(dataset).map_or_else(|| class.key(), str::to_owned);
    labels.foreground().iter().map(name).collect()
}

fn io(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Io { path: path.to_owned(), source }
}

/// `value` with at most `digits` decimals, as NumPy prints rounded numbers.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

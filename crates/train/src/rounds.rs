//! A training that others take part in: epochs pass elsewhere, and its state is saved when a round ends.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::TrainError;
use super::trainer::Training;

impl Training {
    /// The cases of the fold that are trained on.
    pub fn training_cases(&self) -> &[String] {
        &self.setup.train_cases
    }

    /// Whether an epoch was begun and is not complete.
    pub fn is_within_epoch(&self) -> bool {
        !self.state.epoch_losses.is_empty()
    }

    /// Counts epochs as passed until `epochs` are complete, without training: the learning rate and the batches go on as if
    /// they had been trained. The curves have no numbers for them. What was trained of an epoch that is not complete is
    /// kept in the weights. Does nothing if so many are complete, and passes no more than the training has.
    pub fn miss_epochs(&mut self, epochs: usize) {
        let epochs = epochs.min(self.setup.request.recipe.epochs);
        if epochs <= self.state.epoch {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        // Within an epoch there may be entries of it.
        self.state.history.truncate(self.state.epoch);
        self.state.epoch_losses.clear();
        self.state.evaluation = Default::default();
        for epoch in self.state.epoch..epochs {
            self.state.history.push_missed(self.setup.schedule.rate(epoch), now);
        }
        self.state.epoch = epochs;
        self.loaders = None;
    }

    /// Writes `checkpoint_latest.pth` now, whether or not it is due.
    ///
    /// # Errors
    /// A checkpoint that cannot be written.
    pub fn save_latest(&mut self) -> Result<(), TrainError> {
        let rate = self.setup.schedule.rate(self.state.epoch.saturating_sub(1));
        let path = self.setup.folder.latest_checkpoint();
        self.save(&path, rate).map(drop)
    }
}

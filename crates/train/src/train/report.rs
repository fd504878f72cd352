//! What an epoch came to.

use nnunet_base::progress::Event;

/// Numbers of an epoch that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Mean loss of the training batches.
    pub train_loss: f64,
    /// Mean loss of the validation batches.
    pub validation_loss: f64,
    /// Pseudo-Dice of each foreground class or region; not a number where it neither occurred nor was predicted.
    pub pseudo_dice: Vec<f64>,
    /// Moving average of the mean pseudo-Dice.
    pub moving_average: f64,
    /// Whether the moving average is the best so far.
    pub is_best: bool,
    /// Learning rate.
    pub learning_rate: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Share of the duration, from 0 to 1, that was spent waiting for batches.
    pub waiting: f64,
}

impl EpochReport {
    /// The same numbers as an event.
    pub fn event(&self) -> Event<'_> {
        Event::EpochFinished {
            epoch: self.epoch as u64,
            train_loss: self.train_loss,
            validation_loss: self.validation_loss,
            pseudo_dice: &self.pseudo_dice,
            moving_average: self.moving_average,
            is_best: self.is_best,
            learning_rate: self.learning_rate,
            seconds: self.seconds,
            waiting: self.waiting,
        }
    }
}

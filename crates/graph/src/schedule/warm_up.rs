//! A linear rise before another schedule.

use super::Schedule;

/// The first epochs of nnU-Net's `nnUNetTrainer_warmup`: the rate rises by equal steps from `initial / epochs` in epoch 0 to
/// `initial` in the last epoch of the warm-up. `then` counts its epochs from there.
#[derive(Debug)]
pub struct WarmUp<S> {
    /// Rate that the rise ends with.
    pub initial: f64,
    /// Epochs of the rise.
    pub epochs: usize,
    /// What comes after it.
    pub then: S,
}

impl<S: Schedule> Schedule for WarmUp<S> {
    fn rate(&self, epoch: usize) -> f64 {
        match epoch.checked_sub(self.epochs) {
            Some(epoch) => self.then.rate(epoch),
            None => self.initial / self.epochs as f64 * (1 + epoch) as f64,
        }
    }
}

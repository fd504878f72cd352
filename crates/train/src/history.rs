//! The curves of a training, one value per epoch: what the log prints, the plot shows and the
//! checkpoint keeps. Field names are the keys of the reference's checkpoints.

/// Weight of the past in the moving average of the pseudo-Dice.
const EMA_DECAY: f64 = 0.9;

/// Values per epoch. During an epoch some lists are one longer than others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Mean of the pseudo-Dice of all classes.
    pub mean_fg_dice: Vec<f64>,
    /// Moving average of [`History::mean_fg_dice`]; decides which checkpoint is the best one.
    pub ema_fg_dice: Vec<f64>,
    /// Pseudo-Dice of each foreground class or region.
    pub dice_per_class_or_region: Vec<Vec<f64>>,
    /// Mean training loss.
    pub train_losses: Vec<f64>,
    /// Mean validation loss.
    pub val_losses: Vec<f64>,
    /// Learning rate.
    pub lrs: Vec<f64>,
    /// Start in seconds since 1970.
    pub epoch_start_timestamps: Vec<f64>,
    /// End in seconds since 1970.
    pub epoch_end_timestamps: Vec<f64>,
}

impl History {
    /// Number of epochs for which every list has its value.
    pub fn complete_epochs(&self) -> usize {
        [
            self.mean_fg_dice.len(),
            self.ema_fg_dice.len(),
            self.dice_per_class_or_region.len(),
            self.train_losses.len(),
            self.val_losses.len(),
            self.lrs.len(),
            self.epoch_start_timestamps.len(),
            self.epoch_end_timestamps.len(),
        ]
        .into_iter()
        .min()
        .unwrap_or(0)
    }

    /// Adds the validation of an epoch and continues the moving average.
    ///
    /// The mean leaves out classes whose Dice is not a number (absent in reference and prediction).
    pub fn push_validation(&mut self, loss: f64, dice_per_class: Vec<f64>) {
        let present: Vec<f64> = dice_per_class.iter().copied().filter(|d| !d.is_nan()).collect();
        let mean =
            if present.is_empty() { f64::NAN } else { present.iter().sum::<f64>() / present.len() as f64 };
        let average = match self.ema_fg_dice.last().filter(|_| !self.has_only_missed_epochs()) {
            Some(last) => last * EMA_DECAY + (1.0 - EMA_DECAY) * mean,
            None => mean,
        };
        self.val_losses.push(loss);
        self.dice_per_class_or_region.push(dice_per_class);
        self.mean_fg_dice.push(mean);
        self.ema_fg_dice.push(average);
    }

    /// Adds an epoch that was not trained here, at a learning rate and a time: its values are not numbers, and the moving
    /// average stays.
    pub fn push_missed(&mut self, rate: f64, time: f64) {
        self.lrs.push(rate);
        self.train_losses.push(f64::NAN);
        self.val_losses.push(f64::NAN);
        self.dice_per_class_or_region.push(Vec::new());
        self.mean_fg_dice.push(f64::NAN);
        self.ema_fg_dice.push(self.ema_fg_dice.last().copied().unwrap_or(f64::NAN));
        self.epoch_start_timestamps.push(time);
        self.epoch_end_timestamps.push(time);
    }

    /// Whether there is no moving average to continue, since every epoch so far was missed. A loss of a trained epoch is
    /// a number.
    fn has_only_missed_epochs(&self) -> bool {
        let losses = self.val_losses.get(..self.ema_fg_dice.len()).unwrap_or_default();
        !losses.is_empty() && losses.iter().all(|loss| loss.is_nan())
    }

    /// Forgets everything of `epoch` and later, for a training that resumes there.
    pub fn truncate(&mut self, epoch: usize) {
        self.mean_fg_dice.truncate(epoch);
        self.ema_fg_dice.truncate(epoch);
        self.dice_per_class_or_region.truncate(epoch);
        self.train_losses.truncate(epoch);
        self.val_losses.truncate(epoch);
        self.lrs.truncate(epoch);
        self.epoch_start_timestamps.truncate(epoch);
        self.epoch_end_timestamps.truncate(epoch);
    }
}

#[cfg(test)]
impl History {
    pub(super) fn push_for_test(&mut self, epoch: usize) {
        let e = epoch as f64;
        self.epoch_start_timestamps.push(e * 10.0);
        self.lrs.push(0.01 / (e + 1.0));
        self.train_losses.push(-0.5 - e * 0.01);
        self.push_validation(-0.4 - e * 0.01, vec![0.5 + e * 0.01, 0.6 + e * 0.01]);
        self.epoch_end_timestamps.push(e * 10.0 + 8.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_the_mean_of_present_classes() {
        let mut history = History::default();
        history.push_validation(0.0, vec![0.5, f64::NAN, 0.7]);
        assert!((history.mean_fg_dice[0] - 0.6).abs() < 1e-15);
        assert_eq!(history.ema_fg_dice[0], history.mean_fg_dice[0]);
        history.push_validation(0.0, vec![0.8, 0.8, 0.8]);
        assert!((history.ema_fg_dice[1] - (0.9 * 0.6 + 0.1 * 0.8)).abs() < 1e-15);
    }

    #[test]
    fn missed_epochs_leave_the_average_as_it_is() {
        let mut history = History::default();
        history.push_missed(0.01, 5.0);
        assert_eq!(history.complete_epochs(), 1);
        history.push_validation(0.0, vec![0.5]);
        assert_eq!(history.ema_fg_dice[1], 0.5, "there was nothing to continue");
        history.push_missed(0.01, 6.0);
        history.push_validation(0.0, vec![0.6]);
        assert!((history.ema_fg_dice[3] - 0.51).abs() < 1e-15);
    }

    #[test]
    fn an_epoch_counts_when_it_is_complete() {
        let mut history = History::default();
        history.push_for_test(0);
        history.push_for_test(1);
        history.epoch_start_timestamps.push(20.0);
        assert_eq!(history.complete_epochs(), 2);
        history.truncate(1);
        assert_eq!(history.epoch_start_timestamps.len(), 1);
        assert_eq!(history.complete_epochs(), 1);
    }
}

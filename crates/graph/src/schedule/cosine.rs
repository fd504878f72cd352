//! Cosine annealing without restarts. Loshchilov and Hutter 2016, arXiv:1608.03983.

use std::f64::consts::PI;

use super::Schedule;

/// PyTorch's `CosineAnnealingLR` with `T_max` epochs, as nnU-Net's `nnUNetTrainerCosAnneal` takes it: half a cosine from the
/// initial rate in epoch 0 to the smallest one after the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineAnnealing {
    /// Rate of epoch 0.
    pub initial: f64,
    /// Number of epochs of the whole training.
    pub epochs: usize,
    /// Rate at the end.
    pub smallest: f64,
}

impl Schedule for CosineAnnealing {
    fn rate(&self, epoch: usize) -> f64 {
        let done = (epoch as f64 / self.epochs as f64).min(1.0);
        between(self.initial, self.smallest, done)
    }
}

/// Half a cosine from `start` to `end`, with `done` from 0 to 1.
pub(super) fn between(start: f64, end: f64, done: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * done).cos()) / 2.0
}

//! The one-cycle policy. Smith and Topin 2017, arXiv:1708.07120.

use super::Schedule;
use super::cosine::between;

/// PyTorch's `OneCycleLR` in two phases, stepped once per epoch: up from a part of the largest rate to that rate, and down
/// to a small one in the last epoch. The momentum stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    /// The largest rate (`max_lr`).
    pub largest: f64,
    /// Number of epochs of the whole training.
    pub epochs: usize,
    /// Share of the epochs in which the rate rises (`pct_start`).
    pub rising: f64,
    /// The rate of epoch 0 is the largest one divided by this (`div_factor`).
    pub initial_divisor: f64,
    /// The rate of the last epoch is that of epoch 0 divided by this (`final_div_factor`).
    pub final_divisor: f64,
    /// Shape of both phases.
    pub anneal: Anneal,
}

/// How a rate goes from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anneal {
    /// Along half a cosine.
    Cosine,
    /// Along a straight line.
    Linear,
}

impl Schedule for OneCycle {
    fn rate(&self, epoch: usize) -> f64 {
        let first = self.largest / self.initial_divisor;
        let last = self.epochs.saturating_sub(1) as f64;
        let peak = self.rising * self.epochs as f64 - 1.0;
        let epoch = (epoch as f64).min(last);
        let go = |start: f64, end: f64, done: f64| match self.anneal {
            Anneal::Cosine => between(start, end, done),
            Anneal::Linear => start + (end - start) * done,
        };
        if epoch <= peak && peak > 0.0 {
            go(first, self.largest, epoch / peak)
        } else if last > peak {
            go(self.largest, first / self.final_divisor, (epoch - peak) / (last - peak))
        } else {
            self.largest
        }
    }
}

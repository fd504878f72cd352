//! Cosine annealing with warm restarts. Loshchilov and Hutter 2016, arXiv:1608.03983.

use super::Schedule;
use super::cosine::between;

/// PyTorch's `CosineAnnealingWarmRestarts`: half cosines from the initial rate to the smallest one, each `growth` times as
/// long as the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineRestarts {
    /// Rate at each start.
    pub initial: f64,
    /// Epochs of the first cosine, at least 1 (`T_0`).
    pub period: usize,
    /// Length of each cosine in lengths of the one before, at least 1 (`T_mult`).
    pub growth: usize,
    /// Rate that each cosine approaches.
    pub smallest: f64,
}

impl Schedule for CosineRestarts {
    fn rate(&self, epoch: usize) -> f64 {
        let (mut since, mut period) = (epoch, self.period.max(1));
        if self.growth <= 1 {
            since %= period;
        }
        while since >= period {
            since -= period;
            period = period.saturating_mul(self.growth);
        }
        between(self.initial, self.smallest, since as f64 / period as f64)
    }
}

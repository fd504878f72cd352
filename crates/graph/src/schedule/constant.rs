//! The same rate in all epochs.

use super::Schedule;

/// A rate that does not change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    /// The rate.
    pub rate: f64,
}

impl Schedule for Constant {
    fn rate(&self, _epoch: usize) -> f64 {
        self.rate
    }
}

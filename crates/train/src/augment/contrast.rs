//! Contrast: distances from the channel's mean times a factor, clamped to the channel's old range.

use super::random::FactorRange;
use super::statistics::{extremes, mean};

/// How often and how strongly contrast changes; every channel of a chosen sample has its own factor.
#[derive(Debug, Clone, PartialEq)]
pub struct ContrastPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Factor.
    pub factor: FactorRange,
}

/// (x - mean) * factor + mean, clamped to the minimum and maximum before. Within 1e-5 of the reference.
pub fn scale_contrast(channel: &mut [f32], factor: f32) {
    let mean = mean(channel) as f32;
    let (low, high) = extremes(channel);
    for value in channel {
        let scaled = (*value - mean) * factor + mean;
        *value = scaled.max(low).min(high);
    }
}

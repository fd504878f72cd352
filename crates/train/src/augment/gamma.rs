//! Gamma correction of a channel rescaled to [0, 1], with its mean and deviation restored.
//!
//! Inverted: the same on the negated channel. Restored statistics use the unbiased standard
//! deviation. Within 1e-5 of the reference, relative to the channel's range.

use super::random::FactorRange;
use super::statistics::{extremes, mean_and_deviation};

/// How often and how strongly gamma changes; every channel of a chosen sample has its own exponent.
#[derive(Debug, Clone, PartialEq)]
pub struct GammaPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Exponent.
    pub gamma: FactorRange,
    /// Which end of the range the exponent is anchored at.
    pub direction: GammaDirection,
}

/// Whether the channel is negated around the correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GammaDirection {
    /// The channel as it is.
    Plain,
    /// The channel is negated before and after.
    Inverted,
}

/// Smallest range or deviation that is divided by.
const EPSILON: f32 = 1e-7;

/// Applies gamma correction with exponent `gamma` and restores mean and standard deviation.
pub fn correct_gamma(channel: &mut [f32], gamma: f32, direction: GammaDirection) {
    let inverted = direction == GammaDirection::Inverted;
    if inverted {
        negate(channel);
    }
    let (mean, deviation) = mean_and_deviation(channel);
    let (low, high) = extremes(channel);
    let range = high - low;
    let divisor = range.max(EPSILON);
    for value in channel.iter_mut() {
        *value = ((*value - low) / divisor).powf(gamma) * range + low;
    }
    let (mean_now, deviation_now) = mean_and_deviation(channel);
    let scale = deviation as f32 / (deviation_now as f32).max(EPSILON);
    let (mean, mean_now) = (mean as f32, mean_now as f32);
    for value in channel.iter_mut() {
        *value = (*value - mean_now) * scale + mean;
    }
    if inverted {
        negate(channel);
    }
}

fn negate(channel: &mut [f32]) {
    for value in channel {
        *value = -*value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_channel_survives() {
        let mut channel = vec![1.5f32; 27];
        correct_gamma(&mut channel, 0.8, GammaDirection::Inverted);
        assert!(channel.iter().all(|v| (v - 1.5).abs() < 1e-6), "{channel:?}");
    }

    #[test]
    fn exponent_one_changes_nothing() {
        let before: Vec<f32> = (0..50).map(|i| (i as f32 * 0.37).sin()).collect();
        for direction in [GammaDirection::Plain, GammaDirection::Inverted] {
            let mut after = before.clone();
            correct_gamma(&mut after, 1.0, direction);
            assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}

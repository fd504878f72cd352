//! Gamma correction of a channel rescaled to [0, 1], optionally with its mean and deviation restored.
//!
//! Inverted: the same on the negated channel. Restored statistics use the unbiased standard
//! deviation. Within 1e-5 of the reference, relative to the channel's range.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::random::decide;
use super::statistics::{extremes, mean_and_deviation};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Corrects the gamma of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Gamma {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Exponent.
    pub gamma: Distribution,
    /// Probability of [`GammaDirection::Inverted`] for each channel.
    pub invert_probability: f64,
    /// Probability of restoring mean and deviation of each channel.
    pub retain_probability: f64,
}

impl Gamma {
    /// Options: `gamma`, `invert_probability`, `retain_probability`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::around(0.7, 1.0, 1.5);
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            gamma: Distribution::read_within(options, "gamma", default, [0.0, f64::INFINITY])?,
            invert_probability: options.probability("invert_probability", 0.0)?,
            retain_probability: options.probability("retain_probability", 1.0)?,
        })))
    }
}

impl Transform for Gamma {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let per_channel = ChannelChoice { synchronised: false, ..self.channels.clone() };
        let modes = per_channel.draw(image.channels(), context.rng, |rng| {
            let statistics = match decide(self.retain_probability, rng) {
                true => GammaStatistics::Restored,
                false => GammaStatistics::AsTheyCome,
            };
            match decide(self.invert_probability, rng) {
                true => (GammaDirection::Inverted, statistics),
                false => (GammaDirection::Plain, statistics),
            }
        });
        let mut shared = None;
        for (c, mode) in modes.into_iter().enumerate() {
            let Some((direction, statistics)) = mode else { continue };
            let gamma = match (self.channels.synchronised, shared) {
                (true, Some(gamma)) => gamma,
                _ => self.gamma.sample(context.rng) as f32,
            };
            shared = Some(gamma);
            correct_gamma(image.channel_mut(c), gamma, direction, statistics);
        }
    }
}

/// Whether the channel is negated around the correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GammaDirection {
    /// The channel as it is.
    Plain,
    /// The channel is negated before and after.
    Inverted,
}

/// What becomes of a channel's mean and standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GammaStatistics {
    /// They are as before.
    Restored,
    /// They change with the values.
    AsTheyCome,
}

/// Smallest range or deviation that is divided by.
const EPSILON: f32 = 1e-7;

/// Applies gamma correction with exponent `gamma`.
pub fn correct_gamma(
    channel: &mut [f32],
    gamma: f32,
    direction: GammaDirection,
    statistics: GammaStatistics,
) {
    let inverted = direction == GammaDirection::Inverted;
    if inverted {
        negate(channel);
    }
    match statistics {
        GammaStatistics::AsTheyCome => raise(channel, gamma),
        GammaStatistics::Restored => raise_and_restore(channel, gamma),
    }
    if inverted {
        negate(channel);
    }
}

fn raise_and_restore(channel: &mut [f32], gamma: f32) {
    let (mean, deviation) = mean_and_deviation(channel);
    raise(channel, gamma);
    let (mean_now, deviation_now) = mean_and_deviation(channel);
    let scale = deviation as f32 / (deviation_now as f32).max(EPSILON);
    let (mean, mean_now) = (mean as f32, mean_now as f32);
    for value in channel.iter_mut() {
        *value = (*value - mean_now) * scale + mean;
    }
}

/// Raises the channel, rescaled to [0, 1], to the power `gamma`.
fn raise(channel: &mut [f32], gamma: f32) {
    let (low, high) = extremes(channel);
    let range = high - low;
    let divisor = range.max(EPSILON);
    for value in channel.iter_mut() {
        *value = ((*value - low) / divisor).powf(gamma) * range + low;
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
        correct_gamma(&mut channel, 0.8, GammaDirection::Inverted, GammaStatistics::Restored);
        assert!(channel.iter().all(|v| (v - 1.5).abs() < 1e-6), "{channel:?}");
    }

    #[test]
    fn exponent_one_changes_nothing() {
        let before: Vec<f32> = (0..50).map(|i| (i as f32 * 0.37).sin()).collect();
        for direction in [GammaDirection::Plain, GammaDirection::Inverted] {
            let mut after = before.clone();
            correct_gamma(&mut after, 1.0, direction, GammaStatistics::Restored);
            assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}

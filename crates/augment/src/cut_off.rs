//! Outliers cut off: a channel clamped to two of its percentiles, optionally with its standard deviation restored.
//!
//! Percentiles are interpolated linearly between the two nearest values, with the position computed in f32 as in PyTorch.
//! Within 1e-5 of the reference.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::random::decide;
use super::statistics::{mean, mean_and_deviation};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Cuts off outliers of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct CutOff {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Lower percentile, 0 to 100.
    pub lower: Distribution,
    /// Upper percentile, 0 to 100.
    pub upper: Distribution,
    /// Probability of restoring the standard deviation of each channel.
    pub retain_probability: f64,
}

impl CutOff {
    /// Options: `lower`, `upper`, `retain_probability`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let percent = [0.0, 100.0];
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            lower: Distribution::read_within(options, "lower", Distribution::Fixed(0.2), percent)?,
            upper: Distribution::read_within(options, "upper", Distribution::Fixed(99.8), percent)?,
            retain_probability: options.probability("retain_probability", 1.0)?,
        })))
    }
}

impl Transform for CutOff {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let percentiles = self.channels.draw(image.channels(), context.rng, |rng| {
            [self.lower.sample(rng) as f32, self.upper.sample(rng) as f32]
        });
        for (c, percentiles) in percentiles.into_iter().enumerate() {
            if let Some(percentiles) = percentiles {
                let retained = decide(self.retain_probability, context.rng);
                cut_off(image.channel_mut(c), percentiles, retained, &mut context.scratch.channel);
            }
        }
    }
}

/// Clamps a channel to `percentiles` (lower, upper); `retain_deviation` restores its standard deviation. `scratch` is a
/// buffer whose contents do not matter.
pub fn cut_off(channel: &mut [f32], percentiles: [f32; 2], retain_deviation: bool, scratch: &mut Vec<f32>) {
    if channel.is_empty() {
        return;
    }
    let (_, before) = mean_and_deviation(channel);
    scratch.clear();
    scratch.extend_from_slice(channel);
    let [low, high] = percentiles.map(|percentile| quantile(scratch, percentile / 100.0));
    channel.iter_mut().for_each(|value| *value = value.max(low).min(high));
    let (_, now) = mean_and_deviation(channel);
    if retain_deviation && now > 1e-8 {
        let (mean, now, before) = (mean(channel) as f32, now as f32, before as f32);
        channel.iter_mut().for_each(|value| *value = (*value - mean) / now * before + mean);
    }
}

/// The quantile `q` (0 to 1) of `values`, which are put into another order and of which there is at least one.
fn quantile(values: &mut [f32], q: f32) -> f32 {
    let position = (q * (values.len() - 1) as f32).clamp(0.0, (values.len() - 1) as f32);
    let index = (position as usize).min(values.len() - 1);
    let (_, below, above) = values.select_nth_unstable_by(index, f32::total_cmp);
    let (below, weight) = (*below, position - index as f32);
    let above = above.iter().copied().fold(f32::INFINITY, f32::min);
    if weight == 0.0 || above == f32::INFINITY {
        return below;
    }
    match weight < 0.5 {
        true => below + weight * (above - below),
        false => above - (above - below) * (1.0 - weight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        let found = [0.0, 0.1, 0.5, 0.9, 1.0].map(|q| quantile(&mut values.to_vec(), q));
        for (found, expected) in found.into_iter().zip([1.0, 1.4, 3.0, 4.6, 5.0]) {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
        assert_eq!(quantile(&mut [7.0], 0.3), 7.0);
    }

    #[test]
    fn a_constant_channel_survives() {
        let mut channel = [2.0f32; 9];
        cut_off(&mut channel, [5.0, 95.0], true, &mut Vec::new());
        assert_eq!(channel, [2.0; 9]);
    }
}

//! Brightness that rises or falls towards one place. Within 1e-5 of the reference.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::super::distribution::{ChannelChoice, Distribution};
use super::super::pipeline::Sample;
use super::super::statistics::extremes;
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::bump::{Bump, BumpOptions};

/// Adds a bump to channels.
#[derive(Debug, Clone, PartialEq)]
pub struct BrightnessGradient {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Where and how wide.
    pub bump: BumpOptions,
    /// What is added at the peak, in units of the normalised image.
    pub strength: Distribution,
    /// Whether the bump's mean is subtracted first, so that the image keeps its own.
    pub mean_centred: bool,
    /// Whether values stay within the range that the image had.
    pub preserve_range: bool,
}

impl BrightnessGradient {
    /// Options: `strength`, `mean_centred`, `preserve_range`, those of [`BumpOptions`] and of [`ChannelChoice`].
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            bump: BumpOptions::read(options)?,
            strength: Distribution::read(options, "strength", Distribution::Fixed(1.0))?,
            mean_centred: options.switch("mean_centred", false)?,
            preserve_range: options.switch("preserve_range", false)?,
        })))
    }
}

impl Transform for BrightnessGradient {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let drawn = self.channels.draw(image.channels(), context.rng, |rng| {
            (self.bump.draw(shape, first, rng), self.strength.sample(rng) as f32)
        });
        let range = self.preserve_range.then(|| extremes(image.data()));
        for (c, drawn) in drawn.into_iter().enumerate() {
            if let Some((bump, strength)) = drawn {
                add_gradient(image.channel_mut(c), &bump, strength, self.mean_centred);
            }
        }
        if let Some((low, high)) = range {
            image.data_mut().iter_mut().for_each(|value| *value = value.max(low).min(high));
        }
    }
}

/// Adds a bump whose largest absolute value is `strength` to a channel.
pub fn add_gradient(channel: &mut [f32], bump: &Bump, strength: f32, mean_centred: bool) {
    let mean = if mean_centred { bump.mean() as f32 } else { 0.0 };
    // Weights fill [0, 1].
    let largest = mean.max(1.0 - mean);
    bump.for_each_row(channel, |row, weights| {
        for (value, weight) in row.iter_mut().zip(weights) {
            *value += (weight - mean) / largest * strength;
        }
    });
}

//! Contrast: distances from the channel's mean times a factor, optionally clamped to the channel's old range.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::statistics::{extremes, mean};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Changes the contrast of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Factor.
    pub factor: Distribution,
    /// Whether values stay within the range that the channel had.
    pub preserve_range: bool,
}

impl Contrast {
    /// Options: `factor`, `preserve_range`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            factor: Distribution::read(options, "factor", Distribution::around(0.75, 1.0, 1.25))?,
            preserve_range: options.switch("preserve_range", true)?,
        })))
    }
}

impl Transform for Contrast {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let factors = self.channels.draw(image.channels(), context.rng, |rng| self.factor.sample(rng) as f32);
        for (c, factor) in factors.into_iter().enumerate() {
            match factor {
                Some(factor) if self.preserve_range => scale_contrast(image.channel_mut(c), factor),
                Some(factor) => scale_contrast_freely(image.channel_mut(c), factor),
                None => {}
            }
        }
    }
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

/// (x - mean) * factor + mean. Within 1e-5 of the reference.
pub fn scale_contrast_freely(channel: &mut [f32], factor: f32) {
    let mean = mean(channel) as f32;
    for value in channel {
        *value = (*value - mean) * factor + mean;
    }
}

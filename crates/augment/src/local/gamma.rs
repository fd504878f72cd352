//! Gamma correction that fades in towards one place. Within 1e-5 of the reference, relative to the channel's range.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::super::distribution::{ChannelChoice, Distribution};
use super::super::pipeline::Sample;
use super::super::statistics::extremes;
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::bump::{Bump, BumpOptions};

/// Corrects the gamma of channels around one place.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalGamma {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Where and how wide.
    pub bump: BumpOptions,
    /// Exponent at the peak.
    pub gamma: Distribution,
}

impl LocalGamma {
    /// Options: `gamma`, those of [`BumpOptions`] and of [`ChannelChoice`].
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::uniform(0.5, 1.0);
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            bump: BumpOptions::read(options)?,
            gamma: Distribution::read_within(options, "gamma", default, [0.0, f64::INFINITY])?,
        })))
    }
}

impl Transform for LocalGamma {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let drawn = self.channels.draw(image.channels(), context.rng, |rng| {
            (self.bump.draw(shape, first, rng), self.gamma.sample(rng) as f32)
        });
        for (c, drawn) in drawn.into_iter().enumerate() {
            if let Some((bump, gamma)) = drawn {
                correct_gamma_locally(image.channel_mut(c), &bump, gamma);
            }
        }
    }
}

/// Blends a channel, rescaled to [0, 1], with its power `gamma`.
pub fn correct_gamma_locally(channel: &mut [f32], bump: &Bump, gamma: f32) {
    let (low, high) = extremes(channel);
    let divisor = (high - low).max(1e-8);
    bump.for_each_row(channel, |row, weights| {
        for (value, weight) in row.iter_mut().zip(weights) {
            let plain = (*value - low) / divisor;
            *value = (plain.powf(gamma) * weight + (1.0 - weight) * plain) * divisor + low;
        }
    });
}

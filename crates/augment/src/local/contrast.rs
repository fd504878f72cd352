//! Contrast that changes towards one place. Within 1e-5 of the reference.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::super::distribution::{ChannelChoice, Distribution};
use super::super::pipeline::Sample;
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::bump::{Bump, BumpOptions};

/// Changes the contrast of channels around one place.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalContrast {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Where and how wide.
    pub bump: BumpOptions,
    /// Factor at the peak.
    pub factor: Distribution,
}

impl LocalContrast {
    /// Options: `factor`, those of [`BumpOptions`] and of [`ChannelChoice`].
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, true)?,
            bump: BumpOptions::read(options)?,
            factor: Distribution::read(options, "factor", Distribution::uniform(0.5, 1.5))?,
        })))
    }
}

impl Transform for LocalContrast {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let drawn = self.channels.draw(image.channels(), context.rng, |rng| {
            (self.bump.draw(shape, first, rng), self.factor.sample(rng) as f32)
        });
        for (c, drawn) in drawn.into_iter().enumerate() {
            if let Some((bump, factor)) = drawn {
                scale_contrast_locally(image.channel_mut(c), &bump, factor);
            }
        }
    }
}

/// Blends a channel with (x - mean) * factor + mean, where the mean is that under the bump.
pub fn scale_contrast_locally(channel: &mut [f32], bump: &Bump, factor: f32) {
    let (mut sum, mut total) = (0.0f64, 0.0f64);
    bump.for_each_row(channel, |row, weights| {
        for (value, weight) in row.iter().zip(weights) {
            sum += f64::from(*value * weight);
            total += f64::from(*weight);
        }
    });
    let mean = (sum / (total + 1e-8)) as f32;
    bump.for_each_row(channel, |row, weights| {
        for (value, weight) in row.iter_mut().zip(weights) {
            let scaled = (*value - mean) * factor + mean;
            *value = scaled * weight + (1.0 - weight) * *value;
        }
    });
}

//! Brightness: each channel times a factor, or plus a shift.

use std::sync::Arc;

use nnunet_base::parts::Options;
use rand_distr::{Distribution as _, StandardNormal};

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Multiplies channels by a factor.
#[derive(Debug, Clone, PartialEq)]
pub struct Brightness {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Factor.
    pub factor: Distribution,
}

impl Brightness {
    /// Options: `factor`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            factor: Distribution::read(options, "factor", Distribution::around(0.75, 1.0, 1.25))?,
        })))
    }
}

impl Transform for Brightness {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let factors = self.channels.draw(image.channels(), context.rng, |rng| self.factor.sample(rng) as f32);
        for (c, factor) in factors.into_iter().enumerate() {
            if let Some(factor) = factor {
                scale_brightness(image.channel_mut(c), factor);
            }
        }
    }
}

/// Multiplies every element by `factor`.
pub fn scale_brightness(channel: &mut [f32], factor: f32) {
    for value in channel {
        *value *= factor;
    }
}

/// Adds a shift to channels.
#[derive(Debug, Clone, PartialEq)]
pub struct BrightnessShift {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Mean of the shift, in units of the normalised image.
    pub mean: f64,
    /// Standard deviation of the shift. Synchronised channels have a shift between `mean` and `deviation` instead, evenly
    /// distributed: the reference passes the two numbers as a range there.
    pub deviation: f64,
}

impl BrightnessShift {
    /// Options: `mean`, `deviation`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let deviation = |d: f64| d >= 0.0;
        let shift = Self {
            channels: ChannelChoice::read(options, context, false)?,
            mean: options.number("mean", 0.0)?,
            deviation: options.number_where("deviation", 0.5, "a number of at least 0", deviation)?,
        };
        if shift.channels.synchronised && shift.mean > shift.deviation {
            return Err(options.invalid("mean", "at most deviation where channels are synchronised").into());
        }
        Ok(Some(Arc::new(shift)))
    }
}

impl Transform for BrightnessShift {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let shared = Distribution::uniform(self.mean, self.deviation);
        let shifts = self.channels.draw(image.channels(), context.rng, |rng| {
            if self.channels.synchronised {
                return shared.sample(rng) as f32;
            }
            let normal: f64 = StandardNormal.sample(rng);
            (self.mean + self.deviation * normal) as f32
        });
        for (c, shift) in shifts.into_iter().enumerate() {
            if let Some(shift) = shift {
                image.channel_mut(c).iter_mut().for_each(|value| *value += shift);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_scaled() {
        let mut channel = [1.0, -2.0, 0.0];
        scale_brightness(&mut channel, 0.5);
        assert_eq!(channel, [0.5, -1.0, 0.0]);
    }
}

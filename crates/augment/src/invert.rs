//! Inversion: every channel mirrored about its mean. Within 1e-6 of the reference, relative to the channel's range.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, image_channels};
use super::pipeline::Sample;
use super::random::decide;
use super::statistics::mean;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Inverts channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Invert {
    /// Channels to change where not all of them do.
    pub channels: ChannelChoice,
    /// Probability that all channels change, whatever `channels` says.
    pub synchronised_probability: f64,
}

impl Invert {
    /// Options: `synchronised_probability`, `channel_probability` and `channels`.
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice {
                probability: options.probability("channel_probability", 1.0)?,
                synchronised: false,
                channels: image_channels(options, context)?,
            },
            synchronised_probability: options.probability("synchronised_probability", 1.0)?,
        })))
    }
}

impl Transform for Invert {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let mut choice = self.channels.clone();
        if decide(self.synchronised_probability, context.rng) {
            choice.probability = 1.0;
        }
        for (c, chosen) in choice.draw(image.channels(), context.rng, |_| ()).into_iter().enumerate() {
            if chosen.is_some() {
                invert(image.channel_mut(c));
            }
        }
    }
}

/// 2 mean - x for every element.
pub fn invert(channel: &mut [f32]) {
    let mean = mean(channel) as f32;
    for value in channel {
        *value = -(*value - mean) + mean;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_stays_and_the_order_turns() {
        let mut channel = [1.0, 2.0, 6.0];
        invert(&mut channel);
        assert_eq!(channel, [5.0, 4.0, 0.0]);
    }
}

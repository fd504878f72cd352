//! Sharpening: a multiple of the Laplacian (centre minus neighbours that share a face) is added to the image.
//!
//! Border voxels are repeated. 2-D patches have four neighbours, 3-D patches six. Axis order (z, y, x). Within 1e-5 of
//! the reference.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::random::decide;
use super::statistics::extremes;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Sharpens channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sharpen {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Factor of the Laplacian.
    pub strength: Distribution,
    /// Probability of clamping a channel to the range that it had.
    pub clamp_probability: f64,
}

impl Sharpen {
    /// Options: `strength`, `clamp_probability`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            strength: Distribution::read(options, "strength", Distribution::uniform(0.1, 1.0))?,
            clamp_probability: options.probability("clamp_probability", 0.0)?,
        })))
    }
}

impl Transform for Sharpen {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let shape = image.shape();
        let drawn = self.channels.draw(image.channels(), context.rng, |rng| {
            (self.strength.sample(rng) as f32, decide(self.clamp_probability, rng))
        });
        for (c, drawn) in drawn.into_iter().enumerate() {
            let Some((strength, clamped)) = drawn else { continue };
            let channel = image.channel_mut(c);
            let range = clamped.then(|| extremes(channel));
            sharpen(channel, shape, strength, context.geometry.first_axis(), &mut context.scratch.channel);
            if let Some((low, high)) = range {
                channel.iter_mut().for_each(|value| *value = value.max(low).min(high));
            }
        }
    }
}

/// Adds `strength` times the Laplacian over the axes from `first_axis` on to a channel of `shape`. `scratch` is a buffer
/// whose contents do not matter.
pub fn sharpen(
    channel: &mut [f32],
    shape: [usize; 3],
    strength: f32,
    first_axis: usize,
    scratch: &mut Vec<f32>,
) {
    scratch.clear();
    scratch.extend_from_slice(channel);
    let [depth, height, width] = shape;
    let row = |z: usize, y: usize| &scratch[(z * height + y) * width..][..width];
    let centre = 2.0 * (3 - first_axis) as f32;
    for z in 0..depth {
        for y in 0..height {
            let here = row(z, y);
            let target = &mut channel[(z * height + y) * width..][..width];
            let (above, below) = (row(z, y.saturating_sub(1)), row(z, (y + 1).min(height - 1)));
            for (x, value) in target.iter_mut().enumerate() {
                let (left, right) = (here[x.saturating_sub(1)], here[(x + 1).min(width - 1)]);
                *value = centre * here[x] - above[x] - below[x] - left - right;
            }
            if first_axis == 0 {
                let (front, back) = (row(z.saturating_sub(1), y), row((z + 1).min(depth - 1), y));
                for ((value, front), back) in target.iter_mut().zip(front).zip(back) {
                    *value -= front + back;
                }
            }
            for (value, here) in target.iter_mut().zip(here) {
                *value = strength * *value + here;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_gets_steeper_and_flat_parts_stay() {
        let mut channel = [1.0, 1.0, 1.0, 3.0, 3.0, 3.0];
        sharpen(&mut channel, [1, 1, 6], 0.5, 1, &mut Vec::new());
        assert_eq!(channel, [1.0, 1.0, 0.0, 4.0, 3.0, 3.0]);
    }
}

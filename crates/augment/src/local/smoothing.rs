//! Smoothing that fades in towards one place. Within 1e-5 of the reference.
//!
//! The smoothing is SciPy's Gaussian filter: a kernel of radius 4 sigma (rounded), borders reflected with the border voxel
//! repeated.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::super::blur::{Border, blur_axis, truncated_kernel};
use super::super::distribution::{ChannelChoice, Distribution};
use super::super::pipeline::Sample;
use super::super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};
use super::bump::{Bump, BumpOptions};

/// Smooths channels around one place.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalSmoothing {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Where and how wide.
    pub bump: BumpOptions,
    /// Share of the smoothed image at the peak, 0 to 1.
    pub strength: Distribution,
    /// Sigma of the smoothing in voxels, one for all channels and axes.
    pub sigma: Distribution,
}

impl LocalSmoothing {
    /// Options: `strength`, `sigma`, those of [`BumpOptions`] and of [`ChannelChoice`].
    pub(in super::super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let (strength, sigma) = (Distribution::uniform(0.5, 1.0), Distribution::uniform(0.5, 1.5));
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, true)?,
            bump: BumpOptions::read(options)?,
            strength: Distribution::read_within(options, "strength", strength, [0.0, 1.0])?,
            sigma: Distribution::read_within(options, "sigma", sigma, [0.0, 100.0])?,
        })))
    }
}

impl Transform for LocalSmoothing {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let (shape, first) = (image.shape(), context.geometry.first_axis());
        let drawn = self.channels.draw(image.channels(), context.rng, |rng| {
            (self.bump.draw(shape, first, rng), self.strength.sample(rng) as f32)
        });
        let sigma = self.sigma.sample(context.rng);
        for (c, drawn) in drawn.into_iter().enumerate() {
            if let Some((bump, strength)) = drawn {
                let scratch = &mut context.scratch.channel;
                smooth_locally(image.channel_mut(c), shape, &bump, strength, sigma, first, scratch);
            }
        }
    }
}

/// Blends a channel of `shape` with its smoothed self, `strength` of it at the peak, smoothed by `sigma` voxels along the
/// axes from `first_axis` on. `scratch` is a buffer whose contents do not matter.
pub fn smooth_locally(
    channel: &mut [f32],
    shape: [usize; 3],
    bump: &Bump,
    strength: f32,
    sigma: f64,
    first_axis: usize,
    scratch: &mut Vec<f32>,
) {
    let mut smoothed = channel.to_vec();
    let kernel = truncated_kernel(sigma);
    for axis in first_axis..3 {
        blur_axis(&mut smoothed, shape, axis, &kernel, Border::Repeated, scratch);
    }
    let mut rows = smoothed.chunks_exact(shape[2].max(1));
    bump.for_each_row(channel, |row, weights| {
        let smoothed = rows.next().unwrap_or_default();
        for ((value, smoothed), weight) in row.iter_mut().zip(smoothed).zip(weights) {
            let weight = weight * strength;
            *value = smoothed * weight + (1.0 - weight) * *value;
        }
    });
}

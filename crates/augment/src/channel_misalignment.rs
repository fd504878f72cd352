//! Channels moved against the others, as if their registration had failed (Scientific Reports 13, 2023,
//! doi 10.1038/s41598-023-46747-z).
//!
//! A channel is rotated and squeezed about its centre (linear interpolation, 0 outside), then shifted by whole voxels.
//! Axis order (z, y, x). Within 1e-5 of the reference.

use std::sync::Arc;

use nnunet_base::parts::{OptionError, Options};
use nnunet_volume::ChannelVolume;
use rand::RngExt;

use super::crop::crop;
use super::distribution::{Distribution, image_channels};
use super::error::AugmentError;
use super::labels::check_image_channels;
use super::pipeline::Sample;
use super::random::{SampleRng, decide};
use super::spatial::{Affine, SpatialScratch, resample, slice_matrix, volume_matrix};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Moves channels against the others.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMisalignment {
    /// Channels that move, all in the same way.
    pub channels: Vec<usize>,
    /// Probability of rotating a sample's channels.
    pub rotation_probability: f64,
    /// Largest angle about (z, y, x) in radians.
    pub rotation: [f64; 3],
    /// Probability of squeezing.
    pub squeeze_probability: f64,
    /// Largest deviation of the factor from 1 along (z, y, x).
    pub squeeze: [f64; 3],
    /// Probability of shifting.
    pub shift_probability: f64,
    /// Largest shift along (z, y, x) in voxels.
    pub shift: [usize; 3],
}

impl ChannelMisalignment {
    /// Options: `channels` (`[0]`); `rotation_probability`, `squeeze_probability` and `shift_probability` (0); with one
    /// number per axis of the patch `rotation` in degrees (15), `squeeze` (0.1 along the first axis, else 0) and `shift` in
    /// voxels (2 along the first axis, else 32).
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let dimensions = context.geometry.dimensions;
        let mut per_axis = |name, default: [f64; 3]| per_axis(options, name, dimensions, default);
        let rotation = per_axis("rotation", [15.0; 3])?.map(f64::to_radians);
        let squeeze = per_axis("squeeze", [0.1, 0.0, 0.0])?;
        let shift = per_axis("shift", [2.0, 32.0, 32.0])?;
        if squeeze.iter().any(|s| *s >= 1.0) {
            return Err(options.invalid("squeeze", "numbers below 1").into());
        }
        Ok(Some(Arc::new(Self {
            channels: image_channels(options, context)?.unwrap_or_else(|| vec![0]),
            rotation_probability: options.probability("rotation_probability", 0.0)?,
            rotation,
            squeeze_probability: options.probability("squeeze_probability", 0.0)?,
            squeeze,
            shift_probability: options.probability("shift_probability", 0.0)?,
            shift: shift.map(|s| s.round() as usize),
        })))
    }

    /// Rotation with squeezing, and the shift (z, y, x), of one sample.
    fn draw(&self, first: usize, rng: &mut SampleRng) -> (Option<Affine>, [isize; 3]) {
        let squeeze = decide(self.squeeze_probability, rng);
        let rotate = decide(self.rotation_probability, rng);
        let shift = decide(self.shift_probability, rng);
        let per_axis = |active: bool, centre: f64, reach: [f64; 3], rng: &mut SampleRng| {
            std::array::from_fn(|d| match active && d >= first {
                true => Distribution::uniform(centre - reach[d], centre + reach[d]).sample(rng),
                false => centre,
            })
        };
        let factors: [f64; 3] = per_axis(squeeze, 1.0, self.squeeze, rng);
        let angles: [f64; 3] = per_axis(rotate, 0.0, self.rotation, rng);
        let shift = std::array::from_fn(|d| {
            let reach = self.shift[d] as i64;
            if shift && d >= first { rng.random_range(-reach..=reach) as isize } else { 0 }
        });
        let affine = (squeeze || rotate).then(|| match first {
            0 => Affine::Volume(volume_matrix(angles, factors)),
            _ => Affine::Slices(slice_matrix(angles[2], [factors[1], factors[2]])),
        });
        (affine, shift)
    }
}

/// The option `name` with one number of at least 0 per axis of the patch, as (z, y, x).
fn per_axis(
    options: &mut Options<'_>,
    name: &'static str,
    dimensions: usize,
    default: [f64; 3],
) -> Result<[f64; 3], OptionError> {
    let first = 3 - dimensions;
    let Some(numbers) = options.optional_numbers(name)? else {
        // Patches of two axes take the numbers of the first two.
        return Ok(std::array::from_fn(|d| if d < first { 0.0 } else { default[d - first] }));
    };
    if numbers.len() != dimensions || numbers.iter().any(|n| *n < 0.0) {
        return Err(options.invalid(name, format!("{dimensions} numbers of at least 0, one per axis")));
    }
    Ok(std::array::from_fn(|d| if d < first { 0.0 } else { numbers[d - first] }))
}

impl Transform for ChannelMisalignment {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let (affine, shift) = self.draw(context.geometry.first_axis(), context.rng);
        for &c in &self.channels {
            misalign(&mut sample.image, c, affine.as_ref(), shift, &mut context.scratch.spatial);
        }
    }

    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        check_image_channels(&self.channels, sample)
    }
}

/// Applies `affine` to channel `c` of `image`, then shows it with its centre moved by `shift` (z, y, x) voxels.
pub fn misalign(
    image: &mut ChannelVolume<f32>,
    c: usize,
    affine: Option<&Affine>,
    shift: [isize; 3],
    scratch: &mut SpatialScratch,
) {
    let shape = image.shape();
    let Some(mut channel) = ChannelVolume::new(1, shape, image.channel(c).to_vec()) else { return };
    if let Some(affine) = affine {
        (channel, _) = resample(&channel, &ChannelVolume::filled(0, shape, 0), affine, shape, scratch);
    }
    let moved = crop(&channel, shift, shape, 0.0);
    image.channel_mut(c).copy_from_slice(moved.data());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_one_channel_and_pads_with_zeros() {
        let mut image =
            ChannelVolume::new(2, [1, 1, 4], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).unwrap();
        misalign(&mut image, 1, None, [0, 0, 1], &mut SpatialScratch::default());
        assert_eq!(image.data(), [1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 0.0]);
    }
}

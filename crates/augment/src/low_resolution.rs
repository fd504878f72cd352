//! Simulated low resolution: nearest-neighbour downsampling followed by linear upsampling.
//!
//! Both with voxel centres at half-integers (no aligned corners); source positions of the way down
//! are floor((i + 0.5) * in / out), of the way up (i + 0.5) * in / out - 0.5, not below 0. Axis order
//! (z, y, x). Within 1e-6 of the reference, relative to the channel's range.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::spatial::SpatialMode;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Takes resolution away from channels.
#[derive(Debug, Clone, PartialEq)]
pub struct LowResolution {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Fraction of the resolution that remains.
    pub scale: Distribution,
    /// One fraction for all axes instead of one for each.
    pub synchronised_axes: bool,
    /// Axes (z, y, x) that lose resolution.
    pub axes: [bool; 3],
}

impl LowResolution {
    /// Options: `scale`, `synchronised_axes`, `axes` (all, but for the first one of patches that are rotated slice by
    /// slice), and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::uniform(0.5, 1.0);
        let by_slices = context.geometry.mode == SpatialMode::Slices;
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            scale: Distribution::read_within(options, "scale", default, [0.0, 1.0])?,
            synchronised_axes: options.switch("synchronised_axes", true)?,
            axes: context.geometry.axes_option(options, "axes")?.unwrap_or([!by_slices, true, true]),
        })))
    }
}

impl Transform for LowResolution {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let scales = self.channels.draw(image.channels(), context.rng, |rng| {
            if self.synchronised_axes {
                let scale = self.scale.sample(rng);
                return self.axes.map(|lost| if lost { scale } else { 1.0 });
            }
            self.axes.map(|lost| if lost { self.scale.sample(rng) } else { 1.0 })
        });
        let shape = image.shape();
        for (c, scale) in scales.into_iter().enumerate() {
            if let Some(scale) = scale {
                simulate_low_resolution(image.channel_mut(c), shape, scale, &mut context.scratch.channel);
            }
        }
    }
}

/// Where one output element of an axis comes from: two elements of the full-resolution axis (the
/// nearest-neighbour images of two neighbours on the coarse axis) and the weight of the second.
struct Tap {
    low: usize,
    high: usize,
    weight: f32,
}

fn axis_taps(length: usize, coarse: usize) -> Vec<Tap> {
    let nearest = nearest_sources(length, coarse);
    let scale = coarse as f32 / length as f32;
    (0..length)
        .map(|i| {
            let position = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
            let low = (position as usize).min(coarse - 1);
            let high = (low + 1).min(coarse - 1);
            Tap { low: nearest[low], high: nearest[high], weight: position - low as f32 }
        })
        .collect()
}

/// Source index of each of `target` elements when an axis of `source` elements is resampled by
/// nearest neighbour with voxel centres at half-integers.
pub(super) fn nearest_sources(source: usize, target: usize) -> Vec<usize> {
    // The reference keeps the scale in f32, multiplies in f64 and takes the floor in f32.
    let scale = f64::from(source as f32 / target as f32);
    (0..target).map(|i| (((i as f64 + 0.5) * scale) as f32 as usize).min(source.saturating_sub(1))).collect()
}

/// round(length * scale), halves to even, at least 1.
pub(super) fn scaled_length(length: usize, scale: f64) -> usize {
    (length as f64 * scale).round_ties_even().max(1.0) as usize
}

/// Replaces one channel of `shape` (z, y, x) by what remains of it at resolution `scale` per axis.
/// `scratch` is a buffer whose contents do not matter.
pub fn simulate_low_resolution(
    channel: &mut [f32],
    shape: [usize; 3],
    scale: [f64; 3],
    scratch: &mut Vec<f32>,
) {
    let taps: [Vec<Tap>; 3] =
        // The reference keeps the scale in f32.
        std::array::from_fn(|d| axis_taps(shape[d], scaled_length(shape[d], f64::from(scale[d] as f32))));
    let plane = shape[1] * shape[2];
    scratch.clear();
    scratch.extend_from_slice(channel);
    let source = &scratch[..];
    let mut mixed = vec![0.0f32; shape[2]];
    let row_of = |z: usize, y: usize| {
        let start = z * plane + y * shape[2];
        &source[start..start + shape[2]]
    };
    for (target_plane, z) in channel.chunks_exact_mut(plane.max(1)).zip(&taps[0]) {
        for (row, y) in target_plane.chunks_exact_mut(shape[2]).zip(&taps[1]) {
            let corners = [
                (1.0 - z.weight) * (1.0 - y.weight),
                (1.0 - z.weight) * y.weight,
                z.weight * (1.0 - y.weight),
                z.weight * y.weight,
            ];
            let rows =
                [row_of(z.low, y.low), row_of(z.low, y.high), row_of(z.high, y.low), row_of(z.high, y.high)];
            for (x, value) in mixed.iter_mut().enumerate() {
                *value = corners[0] * rows[0][x]
                    + corners[1] * rows[1][x]
                    + corners[2] * rows[2][x]
                    + corners[3] * rows[3][x];
            }
            for (value, x) in row.iter_mut().zip(&taps[2]) {
                *value = (1.0 - x.weight) * mixed[x.low] + x.weight * mixed[x.high];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_resolution_is_the_identity() {
        let before: Vec<f32> = (0..60).map(|i| (i as f32).cos()).collect();
        let mut after = before.clone();
        simulate_low_resolution(&mut after, [3, 4, 5], [1.0; 3], &mut Vec::new());
        assert_eq!(before, after);
    }

    #[test]
    fn lengths_round_halves_to_even_and_stay_positive() {
        assert_eq!([scaled_length(5, 0.5), scaled_length(7, 0.5), scaled_length(1, 0.5)], [2, 4, 1]);
    }
}

//! Simulated low resolution: nearest-neighbour downsampling followed by linear upsampling.
//!
//! Both with voxel centres at half-integers (no aligned corners); source positions of the way down
//! are floor((i + 0.5) * in / out), of the way up (i + 0.5) * in / out - 0.5, not below 0. Axis order
//! (z, y, x). Within 1e-6 of the reference, relative to the channel's range.

use super::random::{UniformRange, happens};
use rand::Rng;

/// How often and how strongly resolution is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct LowResolutionPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Probability of each channel of a chosen sample.
    pub channel_probability: f64,
    /// Fraction of the resolution that remains, one for all axes, drawn for each channel.
    pub scale: UniformRange,
    /// First axis that is scaled: 0 for volumes, 1 for slices and stacks of slices.
    pub first_axis: usize,
}

impl LowResolutionPolicy {
    /// Scale (z, y, x) for each channel, `None` for a channel left alone.
    pub fn draw(&self, channels: usize, rng: &mut impl Rng) -> Vec<Option<[f64; 3]>> {
        let chosen: Vec<bool> = (0..channels).map(|_| happens(self.channel_probability, rng)).collect();
        let mut draw = || {
            let scale = self.scale.sample(rng);
            std::array::from_fn(|d| if d < self.first_axis { 1.0 } else { scale })
        };
        chosen.into_iter().map(|c| c.then(&mut draw)).collect()
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

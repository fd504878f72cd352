//! Gaussian blur, separable, with reflected borders (the border voxel itself is not repeated).
//!
//! Kernel: odd width nearest to 6 sigma + 0.5 in total, sampled at integer distances, normalised.
//! Sigma in voxels. Axis order (z, y, x). Within 1e-6 of the reference.

use super::random::{UniformRange, happens};
use rand::Rng;

/// How often and how strongly images are blurred.
#[derive(Debug, Clone, PartialEq)]
pub struct BlurPolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Probability of each channel of a chosen sample.
    pub channel_probability: f64,
    /// Sigma in voxels, drawn for each channel and axis.
    pub sigma: UniformRange,
}

impl BlurPolicy {
    /// Sigmas for each channel (only the axes in `axes`, the others 0), `None` for a channel left alone.
    pub fn draw(
        &self,
        channels: usize,
        axes: std::ops::Range<usize>,
        rng: &mut impl Rng,
    ) -> Vec<Option<[f64; 3]>> {
        let chosen: Vec<bool> = (0..channels).map(|_| happens(self.channel_probability, rng)).collect();
        let mut draw_axis = |d| if axes.contains(&d) { self.sigma.sample(rng) } else { 0.0 };
        chosen.into_iter().map(|c| c.then(|| std::array::from_fn(&mut draw_axis))).collect()
    }
}

/// The normalised kernel for `sigma` (voxels).
pub fn gaussian_kernel(sigma: f64) -> Vec<f32> {
    let width = nearest_odd(6.0 * sigma + 0.5);
    let half = (width - 1) as f64 / 2.0;
    let weights: Vec<f64> = (0..width).map(|i| (-0.5 * ((i as f64 - half) / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

fn nearest_odd(value: f64) -> usize {
    let rounded = value.round_ties_even();
    let odd = match rounded % 2.0 == 1.0 {
        true => rounded,
        false if value >= rounded => rounded + 1.0,
        false => rounded - 1.0,
    };
    odd.max(1.0) as usize
}

/// Blurs one channel of `shape` (z, y, x) along each axis with a positive entry in `sigmas` (voxels).
/// `scratch` is a buffer whose contents do not matter.
pub fn gaussian_blur(channel: &mut [f32], shape: [usize; 3], sigmas: [f64; 3], scratch: &mut Vec<f32>) {
    for (axis, &sigma) in sigmas.iter().enumerate() {
        if sigma > 0.0 {
            blur_axis(channel, shape, axis, &gaussian_kernel(sigma), scratch);
        }
    }
}

fn blur_axis(channel: &mut [f32], shape: [usize; 3], axis: usize, kernel: &[f32], scratch: &mut Vec<f32>) {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let half = (kernel.len() / 2) as isize;
    let neighbour = |i: usize, tap: usize| reflect(i as isize + tap as isize - half, length);
    if inner == 1 {
        let border = half as usize;
        for row in channel.chunks_exact_mut(length) {
            scratch.clear();
            scratch.extend((0..border).map(|i| row[reflect(i as isize - half, length)]));
            scratch.extend_from_slice(row);
            scratch.extend((0..border).map(|i| row[reflect((length + i) as isize, length)]));
            weighted_sum(row, kernel, |tap| &scratch[tap..tap + length]);
        }
        return;
    }
    // Rows of at most this many elements keep all taps of a step in the first-level cache.
    const ROW: usize = 1024;
    for block in channel.chunks_exact_mut(length * inner) {
        scratch.clear();
        scratch.extend_from_slice(block);
        for (i, target) in block.chunks_exact_mut(inner).enumerate() {
            for (part, row) in target.chunks_mut(ROW).enumerate() {
                let width = row.len();
                weighted_sum(row, kernel, |tap| {
                    let start = neighbour(i, tap) * inner + part * ROW;
                    &scratch[start..start + width]
                });
            }
        }
    }
}

/// `target = sum over taps of kernel[tap] * source(tap)`, for a symmetric kernel of odd width.
#[inline(always)]
fn weighted_sum<'a>(target: &mut [f32], kernel: &[f32], source: impl Fn(usize) -> &'a [f32]) {
    let half = kernel.len() / 2;
    for (value, centre) in target.iter_mut().zip(source(half)) {
        *value = kernel[half] * centre;
    }
    for tap in 0..half {
        let weight = kernel[tap];
        for ((value, a), b) in target.iter_mut().zip(source(tap)).zip(source(kernel.len() - 1 - tap)) {
            *value += weight * (a + b);
        }
    }
}

/// Index `i` reflected into 0..length at the centres of the border voxels.
fn reflect(i: isize, length: usize) -> usize {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length as isize - 1);
    let i = i.rem_euclid(period);
    i.min(period - i) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_widths_are_odd_and_round_half_to_even_first() {
        let widths: Vec<usize> = [0.5, 0.6, 0.75, 0.9, 1.0].map(|s| gaussian_kernel(s).len()).to_vec();
        assert_eq!(widths, [3, 5, 5, 5, 7]);
        assert!((gaussian_kernel(0.8).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn borders_are_reflected_without_repeating_the_edge() {
        assert_eq!((-3..8).map(|i| reflect(i, 4)).collect::<Vec<_>>(), [3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(reflect(-2, 1), 0);
    }

    #[test]
    fn constants_stay_constant_along_every_axis() {
        let mut channel = vec![3.0f32; 10];
        gaussian_blur(&mut channel, [2, 5, 1], [1.0, 0.7, 0.9], &mut Vec::new());
        assert!(channel.iter().all(|v| (v - 3.0).abs() < 1e-6));
    }
}

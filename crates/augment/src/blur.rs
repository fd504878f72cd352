//! Gaussian blur, separable, with reflected borders (the border voxel itself is not repeated).
//!
//! Kernel: odd width nearest to 6 sigma + 0.5 in total, sampled at integer distances, normalised.
//! Sigma in voxels. Axis order (z, y, x). Within 1e-6 of the reference.

use std::sync::Arc;

use nnunet_base::parts::Options;

use super::distribution::{ChannelChoice, Distribution};
use super::median_filter::reflect_with_border;
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Blurs channels.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianBlur {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Sigma in voxels.
    pub sigma: Distribution,
    /// One sigma for all axes instead of one for each.
    pub synchronised_axes: bool,
}

impl GaussianBlur {
    /// Options: `sigma`, `synchronised_axes`, and those of [`ChannelChoice`].
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::uniform(0.5, 1.0);
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, false)?,
            sigma: Distribution::read_within(options, "sigma", default, [0.0, 100.0])?,
            synchronised_axes: options.switch("synchronised_axes", false)?,
        })))
    }
}

impl Transform for GaussianBlur {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let first = context.geometry.first_axis();
        let sigmas = self.channels.draw(image.channels(), context.rng, |rng| {
            if self.synchronised_axes {
                let sigma = self.sigma.sample(rng);
                return std::array::from_fn(|d| if d < first { 0.0 } else { sigma });
            }
            std::array::from_fn(|d| if d < first { 0.0 } else { self.sigma.sample(rng) })
        });
        let shape = image.shape();
        for (c, sigmas) in sigmas.into_iter().enumerate() {
            if let Some(sigmas) = sigmas {
                gaussian_blur(image.channel_mut(c), shape, sigmas, &mut context.scratch.channel);
            }
        }
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
            blur_axis(channel, shape, axis, &gaussian_kernel(sigma), Border::Mirrored, scratch);
        }
    }
}

/// How the image goes on beyond its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Border {
    /// Reflected at the centre of the border voxel: c b | a b c.
    Mirrored,
    /// Reflected at the outer face of the border voxel: b a | a b c.
    Repeated,
    /// Begun again: b c | a b c.
    Periodic,
    /// Zeros.
    Zero,
}

impl Border {
    /// The voxel that stands for index `i` on an axis of `length` voxels; `length` itself for a zero.
    fn source(self, i: isize, length: usize) -> usize {
        match self {
            Self::Mirrored => reflect(i, length),
            Self::Repeated => reflect_with_border(i, length),
            Self::Periodic => i.rem_euclid(length as isize) as usize,
            Self::Zero => usize::try_from(i).unwrap_or(length).min(length),
        }
    }
}

/// Convolves one channel along `axis` with a symmetric kernel of odd width.
pub(super) fn blur_axis(
    channel: &mut [f32],
    shape: [usize; 3],
    axis: usize,
    kernel: &[f32],
    border: Border,
    scratch: &mut Vec<f32>,
) {
    if channel.is_empty() {
        return;
    }
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let half = (kernel.len() / 2) as isize;
    let neighbour = |i: usize, tap: usize| border.source(i as isize + tap as isize - half, length);
    if inner == 1 {
        let margin = half as usize;
        for row in channel.chunks_exact_mut(length) {
            let beyond = |i: isize| row.get(border.source(i, length)).copied().unwrap_or(0.0);
            scratch.clear();
            scratch.extend((0..margin).map(|i| beyond(i as isize - half)));
            scratch.extend_from_slice(row);
            scratch.extend((0..margin).map(|i| beyond((length + i) as isize)));
            weighted_sum(row, kernel, |tap| &scratch[tap..tap + length]);
        }
        return;
    }
    // Rows of at most this many elements keep all taps of a step in the first-level cache.
    const ROW: usize = 1024;
    for block in channel.chunks_exact_mut(length * inner) {
        scratch.clear();
        scratch.extend_from_slice(block);
        if border == Border::Zero {
            scratch.resize((length + 1) * inner, 0.0);
        }
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

/// The normalised kernel for `sigma` (voxels) up to a distance of 4 sigma (rounded), as SciPy's Gaussian filter has it.
pub(super) fn truncated_kernel(sigma: f64) -> Vec<f32> {
    let radius = (4.0 * sigma + 0.5) as isize;
    if radius == 0 {
        return vec![1.0];
    }
    let weights: Vec<f64> =
        (-radius..=radius).map(|i| (-0.5 / (sigma * sigma) * (i * i) as f64).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
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

//! Elastic deformation: smooth random displacements of every voxel. Axis order (z, y, x), lengths in voxels.
//!
//! Two definitions. By magnitude, that of batchgeneratorsv2: normal noise smoothed periodically (a product with a Gaussian
//! in Fourier space), scaled so that the largest displacement has a given length. By alpha and sigma, that of the method's
//! paper and of nnU-Net 1: noise that is uniform in [-1, 1), smoothed with zeros beyond the border, times alpha; the scale
//! of alpha says nothing about the length.
//! Within 1e-5 of the reference, relative to the largest displacement.

use rand::RngExt;
use rand_distr::{Distribution as _, StandardNormal};

use super::super::blur::{Border, blur_axis, truncated_kernel};
use super::super::distribution::Distribution;
use super::super::random::{SampleRng, decide};

/// How displacements are drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Elastic {
    /// By the length of the largest displacement.
    Magnitude {
        /// Sigma of the smoothing as a fraction of the patch's axis.
        scale: Distribution,
        /// Probability that the axes share one scale.
        synchronised_scale: f64,
        /// Largest displacement along each axis.
        magnitude: Distribution,
    },
    /// By alpha and sigma.
    AlphaSigma {
        /// Factor of the smoothed noise, one for all axes.
        alpha: Distribution,
        /// Sigma of the smoothing, one for all axes.
        sigma: Distribution,
    },
}

/// A displacement for every voxel of a patch, or for every voxel of a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Displacement {
    /// Components along (z, y, x), each a patch or slice of `shape`; empty for axes that are not displaced.
    pub components: [Vec<f32>; 3],
    /// Shape (z, y, x); one slice for displacements that are the same in every slice.
    pub shape: [usize; 3],
    /// Whether the displaced patch is moved back so that its centre of mass stays.
    pub centred: bool,
}

impl Displacement {
    /// Displacement of a voxel.
    pub fn at(&self, z: usize, y: usize, x: usize) -> [f32; 3] {
        let z = if self.shape[0] == 1 { 0 } else { z };
        let index = (z * self.shape[1] + y) * self.shape[2] + x;
        self.components.each_ref().map(|component| component.get(index).copied().unwrap_or(0.0))
    }

    /// Largest absolute displacement along each axis.
    pub fn largest(&self) -> [f64; 3] {
        self.components
            .each_ref()
            .map(|component| f64::from(component.iter().fold(0.0f32, |largest, v| largest.max(v.abs()))))
    }

    /// Mean displacement.
    pub fn mean(&self) -> [f32; 3] {
        self.components.each_ref().map(|component| {
            let sum: f64 = component.iter().map(|v| f64::from(*v)).sum();
            (sum / component.len().max(1) as f64) as f32
        })
    }
}

impl Elastic {
    /// Draws displacements along the axes from `first_axis` on for a patch of `shape`.
    pub fn draw(
        &self,
        shape: [usize; 3],
        first_axis: usize,
        centred: bool,
        rng: &mut SampleRng,
        scratch: &mut Vec<f32>,
    ) -> Displacement {
        let shape = std::array::from_fn(|d| if d < first_axis { 1 } else { shape[d] });
        let voxels: usize = shape.iter().product();
        let mut components = [const { Vec::new() }; 3];
        match self {
            Self::Magnitude { scale, synchronised_scale, magnitude } => {
                let shared = decide(*synchronised_scale, rng).then(|| scale.sample(rng));
                let scales: Vec<f64> =
                    (first_axis..3).map(|_| shared.unwrap_or_else(|| scale.sample(rng))).collect();
                let magnitudes: Vec<f64> = (first_axis..3).map(|_| magnitude.sample(rng)).collect();
                for (d, (scale, magnitude)) in (first_axis..3).zip(scales.into_iter().zip(magnitudes)) {
                    let mut noise: Vec<f32> = (0..voxels).map(|_| StandardNormal.sample(rng)).collect();
                    let sigma = scale * shape[d] as f64;
                    smooth_to_magnitude(&mut noise, shape, sigma, magnitude as f32, scratch);
                    components[d] = noise;
                }
            }
            Self::AlphaSigma { alpha, sigma } => {
                let (alpha, sigma) = (alpha.sample(rng) as f32, sigma.sample(rng));
                for component in &mut components[first_axis..] {
                    *component = (0..voxels).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
                    smooth_by_sigma(component, shape, first_axis, sigma, alpha, scratch);
                }
            }
        }
        Displacement { components, shape, centred }
    }
}

/// Smooths `noise` of `shape` periodically by `sigma` voxels along every axis, and scales it so that its largest absolute
/// value is `magnitude`.
pub fn smooth_to_magnitude(
    noise: &mut [f32],
    shape: [usize; 3],
    sigma: f64,
    magnitude: f32,
    scratch: &mut Vec<f32>,
) {
    for axis in 0..3 {
        if shape[axis] > 1 {
            blur_axis(noise, shape, axis, &periodic_kernel(shape[axis], sigma), Border::Periodic, scratch);
        }
    }
    let largest = noise.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let divisor = largest / magnitude.max(1e-8);
    if divisor > 0.0 {
        noise.iter_mut().for_each(|v| *v /= divisor);
    }
}

/// Smooths `noise` of `shape` by `sigma` voxels along the axes from `first_axis` on, with zeros beyond the border, and
/// multiplies it by `alpha`.
pub fn smooth_by_sigma(
    noise: &mut [f32],
    shape: [usize; 3],
    first_axis: usize,
    sigma: f64,
    alpha: f32,
    scratch: &mut Vec<f32>,
) {
    let kernel = truncated_kernel(sigma);
    for axis in first_axis..3 {
        blur_axis(noise, shape, axis, &kernel, Border::Zero, scratch);
    }
    noise.iter_mut().for_each(|v| *v *= alpha);
}

/// The periodic kernel of `length` taps whose Fourier transform is exp(-(2 pi f sigma)^2 / 2), as a symmetric kernel of
/// odd width around its centre. Taps that do not count in f32 are left out.
fn periodic_kernel(length: usize, sigma: f64) -> Vec<f32> {
    let n = length as f64;
    let response = |k: usize| {
        let frequency = if 2 * k < length { k as f64 } else { k as f64 - n } / n;
        (-0.5 * (std::f64::consts::TAU * frequency * sigma).powi(2)).exp()
    };
    let tap = |j: usize| {
        let sum: f64 = (0..length)
            .map(|k| response(k) * (std::f64::consts::TAU * ((j * k) % length) as f64 / n).cos())
            .sum();
        // The tap at half the length is reached from both sides.
        sum / n * if 2 * j == length { 0.5 } else { 1.0 }
    };
    let taps: Vec<f64> = (0..=length / 2).map(tap).collect();
    let last = taps.iter().rposition(|t| t.abs() > 1e-9 * taps[0].abs()).unwrap_or(0);
    taps[1..=last].iter().rev().chain(&taps[..=last]).map(|t| *t as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::derive_stream;

    #[test]
    fn the_largest_displacement_has_the_magnitude() {
        let elastic = Elastic::Magnitude {
            scale: Distribution::Fixed(0.1),
            synchronised_scale: 0.0,
            magnitude: Distribution::Fixed(2.5),
        };
        let mut rng = derive_stream(1, &[]);
        let field = elastic.draw([6, 14, 12], 0, true, &mut rng, &mut Vec::new());
        for component in &field.components {
            let largest = component.iter().fold(0.0f32, |l, v| l.max(v.abs()));
            assert!((largest - 2.5).abs() < 1e-5, "{largest}");
        }
        let slices = elastic.draw([6, 14, 12], 1, true, &mut rng, &mut Vec::new());
        assert!(slices.components[0].is_empty() && slices.shape == [1, 14, 12]);
        assert_eq!(slices.at(3, 2, 1), slices.at(0, 2, 1));
    }

    #[test]
    fn periodic_kernels_keep_the_sum() {
        for (length, sigma) in [(7, 1.3), (8, 2.0), (1, 1.0), (128, 12.0), (5, 0.0)] {
            let sum: f32 = periodic_kernel(length, sigma).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{length} {sigma}: {sum}");
        }
    }
}

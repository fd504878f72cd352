//! Additive Gaussian noise.
//!
//! The reference calls its parameter a variance but uses it as the standard deviation; so do we.

use super::random::UniformRange;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// How often and how strongly noise is added.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisePolicy {
    /// Probability per sample.
    pub probability: f64,
    /// Standard deviation, one for all channels, in units of the normalised image.
    pub deviation: UniformRange,
}

/// Adds independent normal values of standard deviation `deviation` to every element.
pub fn add_gaussian_noise(values: &mut [f32], deviation: f32, rng: &mut impl Rng) {
    for value in values {
        let normal: f32 = StandardNormal.sample(rng);
        *value += deviation * normal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::random::derive_stream;

    #[test]
    fn the_parameter_is_the_standard_deviation() {
        let mut values = vec![2.0f32; 200_000];
        add_gaussian_noise(&mut values, 0.1, &mut derive_stream(3, &[]));
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / (n - 1.0);
        assert!((mean - 2.0).abs() < 1e-3, "{mean}");
        assert!((variance.sqrt() - 0.1).abs() < 1e-3, "{}", variance.sqrt());
    }
}

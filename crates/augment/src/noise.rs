//! Additive Gaussian noise.
//!
//! The reference calls its parameter a variance but uses it as the standard deviation; so do we.

use std::sync::Arc;

use nnunet_base::parts::Options;
use rand::Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::distribution::{ChannelChoice, Distribution};
use super::pipeline::Sample;
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Adds independent normal values.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianNoise {
    /// Channels to change.
    pub channels: ChannelChoice,
    /// Standard deviation, in units of the normalised image.
    pub deviation: Distribution,
}

impl GaussianNoise {
    /// Options: `deviation`, and those of [`ChannelChoice`] (synchronised).
    pub(super) fn build(options: &mut Options<'_>, context: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::uniform(0.0, 0.1);
        Ok(Some(Arc::new(Self {
            channels: ChannelChoice::read(options, context, true)?,
            deviation: Distribution::read_within(options, "deviation", default, [0.0, f64::INFINITY])?,
        })))
    }
}

impl Transform for GaussianNoise {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let image = &mut sample.image;
        let deviations =
            self.channels.draw(image.channels(), context.rng, |rng| self.deviation.sample(rng) as f32);
        for (c, deviation) in deviations.into_iter().enumerate() {
            if let Some(deviation) = deviation {
                add_gaussian_noise(image.channel_mut(c), deviation, context.rng);
            }
        }
    }
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
    use crate::random::derive_stream;

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

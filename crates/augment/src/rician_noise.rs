//! Rician noise, that of magnitude images in magnetic resonance: the length of (x + a, b) with normal a and b.
//!
//! x is the image above its minimum. Mean and standard deviation of the whole image, all channels together, are restored
//! afterwards. The reference calls its parameter a variance but uses it as the standard deviation; so do we.

use std::sync::Arc;

use nnunet_base::parts::Options;
use rand_distr::{Distribution as _, StandardNormal};

use super::distribution::Distribution;
use super::pipeline::Sample;
use super::statistics::{extremes, mean_and_deviation};
use super::transform::{BuildContext, BuiltTransform, Transform, TransformContext};

/// Adds Rician noise to the image.
#[derive(Debug, Clone, PartialEq)]
pub struct RicianNoise {
    /// Standard deviation of both components, in units of the normalised image.
    pub deviation: Distribution,
}

impl RicianNoise {
    /// Option: `deviation`.
    pub(super) fn build(options: &mut Options<'_>, _: &BuildContext<'_>) -> BuiltTransform {
        let default = Distribution::uniform(0.0, 0.1);
        Ok(Some(Arc::new(Self {
            deviation: Distribution::read_within(options, "deviation", default, [0.0, f64::INFINITY])?,
        })))
    }
}

impl Transform for RicianNoise {
    fn apply(&self, sample: &mut Sample, context: &mut TransformContext<'_>) {
        let deviation = self.deviation.sample(context.rng) as f32;
        let mut normal = || -> f32 {
            let normal: f32 = StandardNormal.sample(context.rng);
            deviation * normal
        };
        add_rician_noise(sample.image.data_mut(), || [normal(), normal()]);
    }
}

/// Adds Rician noise whose components come from `noise`, one pair for each element.
pub fn add_rician_noise(values: &mut [f32], mut noise: impl FnMut() -> [f32; 2]) {
    let (low, _) = extremes(values);
    let (mean, deviation) = mean_and_deviation(values);
    for value in values.iter_mut() {
        let [real, imaginary] = noise();
        let shifted = *value - low + real;
        *value = (shifted * shifted + imaginary * imaginary).sqrt() + low;
    }
    let (mean_now, deviation_now) = mean_and_deviation(values);
    let (mean, deviation) = (mean as f32, deviation as f32);
    let (mean_now, deviation_now) = (mean_now as f32, deviation_now as f32);
    for value in values {
        *value = match deviation_now > 0.0 {
            true => (*value - mean_now) / deviation_now * deviation + mean,
            false => *value * 0.0 + mean,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::derive_stream;

    #[test]
    fn mean_and_deviation_stay_and_values_change() {
        let before: Vec<f32> = (0..5000).map(|i| ((i * 37) % 101) as f32 * 0.03 - 1.0).collect();
        let mut after = before.clone();
        let mut rng = derive_stream(5, &[]);
        add_rician_noise(&mut after, || {
            [StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng)].map(|v: f32| 0.2 * v)
        });
        let (old, new) = (mean_and_deviation(&before), mean_and_deviation(&after));
        assert!((old.0 - new.0).abs() < 1e-5 && (old.1 - new.1).abs() < 1e-5, "{old:?} {new:?}");
        let changed = before.iter().zip(&after).filter(|(a, b)| (*a - *b).abs() > 0.01).count();
        assert!(changed > 4000, "{changed}");
    }
}

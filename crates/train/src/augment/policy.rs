//! The default augmentation of the reference's trainer as typed data: every transform of the
//! training pipeline with its probabilities and ranges, made from the facts of a configuration.

use super::blur::BlurPolicy;
use super::brightness::BrightnessPolicy;
use super::cascade::CascadePolicy;
use super::contrast::ContrastPolicy;
use super::error::AugmentError;
use super::gamma::{GammaDirection, GammaPolicy};
use super::geometry::PatchGeometry;
use super::low_resolution::LowResolutionPolicy;
use super::mirror::MirrorPolicy;
use super::noise::NoisePolicy;
use super::random::{FactorRange, UniformRange};
use super::spatial::{SpatialMode, SpatialPolicy};
use super::targets::TargetPolicy;

/// What the augmentation has to know of a configuration and its dataset.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationFacts {
    /// Patch size of the plans, two or three numbers.
    pub patch_size: Vec<usize>,
    /// For each image channel, whether normalisation was restricted to the nonzero mask.
    pub use_mask_for_norm: Vec<bool>,
    /// Scales of the network's outputs per axis of the patch, full resolution first; `None` without
    /// deep supervision.
    pub deep_supervision_scales: Option<Vec<Vec<f64>>>,
    /// Labels of each region in the order of the network's outputs; `None` for plain labels.
    pub regions: Option<Vec<Vec<i16>>>,
    /// Label of voxels that the loss ignores.
    pub ignore_label: Option<i16>,
    /// Foreground labels of the previous stage's segmentation, in ascending order, where the
    /// configuration continues a cascade.
    pub cascade_labels: Option<Vec<i16>>,
}

/// The training pipeline, in the order in which it is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AugmentationPolicy {
    /// Patch and crop sizes.
    pub geometry: PatchGeometry,
    /// Rotation and scaling.
    pub spatial: SpatialPolicy,
    /// Additive noise.
    pub noise: NoisePolicy,
    /// Gaussian blur.
    pub blur: BlurPolicy,
    /// Multiplicative brightness.
    pub brightness: BrightnessPolicy,
    /// Contrast.
    pub contrast: ContrastPolicy,
    /// Simulated low resolution.
    pub low_resolution: LowResolutionPolicy,
    /// Gamma corrections, one after the other.
    pub gamma: Vec<GammaPolicy>,
    /// Mirroring.
    pub mirror: MirrorPolicy,
    /// Image channels that are set to 0 outside of the nonzero mask.
    pub masked_channels: Vec<usize>,
    /// Damage done to the previous stage's segmentation.
    pub cascade: Option<CascadePolicy>,
    /// What is left to do for training and validation alike.
    pub finish: FinishPolicy,
}

/// The deterministic end of the pipeline, which is all there is of it for validation.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishPolicy {
    /// Foreground labels of the previous stage that become image channels.
    pub cascade_labels: Option<Vec<i16>>,
    /// How targets are made.
    pub targets: TargetPolicy,
}

impl AugmentationPolicy {
    /// The reference's default pipeline for a configuration.
    pub fn default_for(facts: &ConfigurationFacts) -> Result<Self, AugmentError> {
        let geometry = PatchGeometry::new(&facts.patch_size)?;
        let finish = FinishPolicy::new(facts, geometry.dimensions)?;
        let gamma = |probability, direction| GammaPolicy {
            probability,
            gamma: FactorRange::new(0.7, 1.5),
            direction,
        };
        let masked = facts.use_mask_for_norm.iter().enumerate();
        Ok(Self {
            spatial: SpatialPolicy {
                mode: geometry.mode,
                rotation_probability: 0.2,
                rotation: geometry.rotation,
                scaling_probability: 0.2,
                scaling: UniformRange::new(0.7, 1.4),
            },
            noise: NoisePolicy { probability: 0.1, deviation: UniformRange::new(0.0, 0.1) },
            blur: BlurPolicy {
                probability: 0.2,
                channel_probability: 0.5,
                sigma: UniformRange::new(0.5, 1.0),
            },
            brightness: BrightnessPolicy { probability: 0.15, factor: FactorRange::new(0.75, 1.25) },
            contrast: ContrastPolicy { probability: 0.15, factor: FactorRange::new(0.75, 1.25) },
            low_resolution: LowResolutionPolicy {
                probability: 0.25,
                channel_probability: 0.5,
                scale: UniformRange::new(0.5, 1.0),
                first_axis: usize::from(geometry.mode == SpatialMode::Slices),
            },
            gamma: vec![gamma(0.1, GammaDirection::Inverted), gamma(0.3, GammaDirection::Plain)],
            mirror: MirrorPolicy { axes: geometry.mirrored(), probability: 0.5 },
            masked_channels: masked.filter(|(_, masked)| **masked).map(|(c, _)| c).collect(),
            cascade: facts.cascade_labels.as_ref().map(|_| CascadePolicy::default()),
            geometry,
            finish,
        })
    }
}

impl FinishPolicy {
    fn new(facts: &ConfigurationFacts, dimensions: usize) -> Result<Self, AugmentError> {
        let scales = match &facts.deep_supervision_scales {
            None => vec![[1.0; 3]],
            Some(scales) => scales.iter().map(|s| spatial_scale(s, dimensions)).collect::<Result<_, _>>()?,
        };
        let regions = facts.regions.as_ref().map(|regions| {
            let ignored = facts.ignore_label.map(|label| vec![label]);
            regions.iter().cloned().chain(ignored).collect()
        });
        Ok(Self { cascade_labels: facts.cascade_labels.clone(), targets: TargetPolicy { regions, scales } })
    }
}

/// A scale per axis of the patch as one per (z, y, x).
fn spatial_scale(scale: &[f64], dimensions: usize) -> Result<[f64; 3], AugmentError> {
    let valid = scale.len() == dimensions && scale.iter().all(|s| *s > 0.0 && *s <= 1.0);
    match *scale {
        [y, x] if valid => Ok([1.0, y, x]),
        [z, y, x] if valid => Ok([z, y, x]),
        _ => Err(AugmentError::Scale { found: scale.to_vec(), axes: dimensions }),
    }
}

/// Scales of the network's outputs for deep supervision: 1 / product of the strides so far, for
/// every stage but the last. `strides` has one entry per stage of the network.
pub fn deep_supervision_scales(strides: &[Vec<usize>]) -> Vec<Vec<f64>> {
    let mut total: Vec<usize> = vec![1; strides.first().map_or(0, Vec::len)];
    let stages = strides.len().saturating_sub(1);
    strides[..stages]
        .iter()
        .map(|stride| {
            total.iter_mut().zip(stride).for_each(|(t, s)| *t *= s);
            total.iter().map(|t| 1.0 / *t as f64).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(patch_size: &[usize]) -> ConfigurationFacts {
        ConfigurationFacts { patch_size: patch_size.to_vec(), ..Default::default() }
    }

    #[test]
    fn slice_by_slice_configurations_leave_the_first_axis_alone() {
        let stack = AugmentationPolicy::default_for(&facts(&[8, 64, 64])).unwrap();
        assert_eq!((stack.low_resolution.first_axis, stack.spatial.mode), (1, SpatialMode::Slices));
        assert_eq!(stack.mirror.axes, [true; 3]);
        let cube = AugmentationPolicy::default_for(&facts(&[32, 64, 64])).unwrap();
        assert_eq!((cube.low_resolution.first_axis, cube.spatial.mode), (0, SpatialMode::Volume));
    }

    #[test]
    fn the_last_stage_has_no_scale() {
        let strides = [vec![1, 1, 1], vec![1, 2, 2], vec![2, 2, 2]];
        assert_eq!(deep_supervision_scales(&strides), [vec![1.0, 1.0, 1.0], vec![1.0, 0.5, 0.5]]);
        assert!(deep_supervision_scales(&[]).is_empty());
    }

    #[test]
    fn the_ignore_label_is_the_last_region_and_masks_are_per_channel() {
        let policy = AugmentationPolicy::default_for(&ConfigurationFacts {
            use_mask_for_norm: vec![false, true],
            regions: Some(vec![vec![1, 2], vec![2]]),
            ignore_label: Some(3),
            ..facts(&[16, 16])
        })
        .unwrap();
        assert_eq!(policy.finish.targets.regions, Some(vec![vec![1, 2], vec![2], vec![3]]));
        assert_eq!(policy.masked_channels, [1]);
    }

    #[test]
    fn scales_must_fit_the_patch() {
        let wrong = ConfigurationFacts {
            deep_supervision_scales: Some(vec![vec![1.0, 0.5, 0.5]]),
            ..facts(&[16, 16])
        };
        let error = AugmentationPolicy::default_for(&wrong).unwrap_err();
        assert!(error.to_string().contains("[1.0, 0.5, 0.5]"), "{error}");
    }
}

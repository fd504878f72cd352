//! The augmentation of one configuration: patch geometry, transforms in order, and what makes targets of patches.

use nnunet_base::parts::{Choice, Named};

use super::error::AugmentError;
use super::geometry::PatchGeometry;
use super::lists::AugmentationList;
use super::registry::transforms;
use super::targets::TargetPolicy;
use super::transform::{BuildContext, Step, TransformBuilder};

/// What the augmentation has to know of a configuration and its dataset.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationFacts {
    /// Patch size of the plans, two or three numbers.
    pub patch_size: Vec<usize>,
    /// For each image channel, whether normalisation was restricted to the nonzero mask.
    pub use_mask_for_norm: Vec<bool>,
    /// Names of the image channels, for options that name them.
    pub channel_names: Vec<String>,
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

/// The training pipeline of a configuration.
#[derive(Debug, Clone)]
pub struct AugmentationPolicy {
    /// Patch and crop sizes.
    pub geometry: PatchGeometry,
    /// Transforms, in the order in which they are applied.
    pub steps: Vec<Step>,
    /// Axes of the configuration's own patch (0..dimensions) that prediction may mirror; `None` for no mirroring.
    pub mirroring_axes: Option<Vec<usize>>,
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
    ///
    /// # Errors
    /// See [`AugmentationPolicy::new`].
    pub fn default_for(facts: &ConfigurationFacts) -> Result<Self, AugmentError> {
        Self::new(&AugmentationList::default(), facts, &transforms())
    }

    /// The pipeline of these transforms for a configuration, with crops and mirroring as by default.
    ///
    /// # Errors
    /// See [`AugmentationPolicy::new`].
    pub fn from_choices(
        choices: &[Choice],
        facts: &ConfigurationFacts,
        transforms: &Named<TransformBuilder>,
    ) -> Result<Self, AugmentError> {
        let list = AugmentationList { transforms: choices.to_vec(), ..AugmentationList::default() };
        Self::new(&list, facts, transforms)
    }

    /// The pipeline of `list` for a configuration. Transforms that have nothing to do in it are left out.
    ///
    /// # Errors
    /// Unknown transforms and options, a patch that is neither 2-D nor 3-D, mirrored axes that it does not have, scales
    /// that do not fit it.
    pub fn new(
        list: &AugmentationList,
        facts: &ConfigurationFacts,
        transforms: &Named<TransformBuilder>,
    ) -> Result<Self, AugmentError> {
        let geometry = PatchGeometry::with_options(&facts.patch_size, &list.patch)?;
        let finish = FinishPolicy::new(facts, geometry.dimensions)?;
        let mirroring_axes = list.mirroring.axes(geometry.dimensions);
        let mirror_axes = mirroring_axes.as_deref().unwrap_or_default();
        if let Some(&axis) = mirror_axes.iter().find(|axis| **axis >= geometry.dimensions) {
            return Err(AugmentError::MirrorAxis { axis, axes: geometry.dimensions });
        }
        let context = BuildContext { facts, geometry: &geometry, mirror_axes, transforms };
        let mut steps = Vec::with_capacity(list.transforms.len());
        for choice in &list.transforms {
            steps.extend(Step::build(choice, &context)?);
        }
        check_order(&steps)?;
        Ok(Self { geometry, steps, mirroring_axes, finish })
    }
}

/// What has to come last must not be followed by anything else.
fn check_order(steps: &[Step]) -> Result<(), AugmentError> {
    let is_last = |step: &Step| step.transform.comes_last();
    let Some(first) = steps.iter().position(is_last) else { return Ok(()) };
    match steps[first..].iter().find(|step| !is_last(step)) {
        None => Ok(()),
        Some(after) => Err(AugmentError::Order {
            last: steps[first].choice.kind.clone(),
            after: after.choice.kind.clone(),
        }),
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
    use super::super::lists::Mirroring;
    use super::*;

    fn facts(patch_size: &[usize]) -> ConfigurationFacts {
        ConfigurationFacts { patch_size: patch_size.to_vec(), ..Default::default() }
    }

    fn kinds(policy: &AugmentationPolicy) -> Vec<&str> {
        policy.steps.iter().map(|step| step.choice.kind.as_str()).collect()
    }

    #[test]
    fn transforms_without_anything_to_do_are_left_out() {
        let plain = AugmentationPolicy::default_for(&facts(&[8, 64, 64])).unwrap();
        let common =
            ["spatial", "gaussian_noise", "gaussian_blur", "brightness", "contrast", "low_resolution"];
        assert_eq!(kinds(&plain)[..6], common);
        assert_eq!(kinds(&plain)[6..], ["gamma", "gamma", "mirror"]);
        let list = AugmentationList { mirroring: Mirroring::None, ..Default::default() };
        let cascade = ConfigurationFacts {
            cascade_labels: Some(vec![1]),
            use_mask_for_norm: vec![false, true],
            ..facts(&[16, 16])
        };
        let policy = AugmentationPolicy::new(&list, &cascade, &transforms()).unwrap();
        let last = ["mask_outside", "previous_stage_channels", "binary_operator", "remove_component"];
        assert_eq!(kinds(&policy)[8..], last);
        assert_eq!(policy.mirroring_axes, None);
    }

    #[test]
    fn misspelt_transforms_and_options_name_the_closest() {
        let error = |choice: Choice| {
            let built = AugmentationPolicy::from_choices(&[choice], &facts(&[16, 16]), &transforms());
            built.unwrap_err().to_string()
        };
        let unknown = error(Choice::new("gausian_noise"));
        assert!(unknown.contains("did you mean gaussian_noise?"), "{unknown}");
        let option = error(Choice::new("gaussian_noise").with("deviaton", 0.1));
        assert!(option.contains("transform gaussian_noise: there is no option \"deviaton\""), "{option}");
        assert!(option.contains("known: probability, channel_probability"), "{option}");
        let channels = Choice::new("gamma").with("channels", vec![0, 2]);
        let two = ConfigurationFacts { use_mask_for_norm: vec![false; 2], ..facts(&[16, 16]) };
        let built = AugmentationPolicy::from_choices(&[channels], &two, &transforms());
        let expected = "transform gamma: channels is [0,2], expected channels of the image, from 0 to 1";
        assert_eq!(built.unwrap_err().to_string(), expected);
        let nested = serde_json::json!([{"kind": "mirror", "axes": [2]}]);
        let axis = error(Choice::new("one_of").with("of", nested));
        assert_eq!(axis, "transform mirror: axes is [2], expected axes of the patch, from 0 to 1");
    }

    #[test]
    fn mirrored_axes_must_be_axes_of_the_patch() {
        let list = AugmentationList { mirroring: Mirroring::Axes(vec![0, 2]), ..Default::default() };
        let error = AugmentationPolicy::new(&list, &facts(&[16, 16]), &transforms()).unwrap_err();
        assert!(error.to_string().contains("axis 2"), "{error}");
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
        assert!(kinds(&policy).contains(&"mask_outside"));
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

//! Runs the transforms of an [`AugmentationPolicy`] on one sample.
//!
//! A sample is a crop: image (channel, z, y, x) in f32 and segmentation (channel, z, y, x) in i16,
//! whose channel 0 is the reference (-1 outside of the nonzero mask) and whose channel 1, in a
//! cascade, is the previous stage's segmentation. All randomness comes from the generator that is
//! passed in, so that one stream makes one sample.

use super::error::AugmentError;
use super::labels::{check_image_channels, move_previous_stage};
use super::policy::{AugmentationPolicy, FinishPolicy};
use super::random::SampleRng;
use super::spatial::{OUTSIDE_LABEL, SpatialScratch, take_centre};
use super::targets::{SampleTarget, replace_label};
use super::transform::TransformContext;
use nnunet_volume::ChannelVolume;

/// One crop as it comes from the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Image (channel, z, y, x), normalised.
    pub image: ChannelVolume<f32>,
    /// Reference segmentation and, in a cascade, that of the previous stage.
    pub segmentation: ChannelVolume<i16>,
}

/// One patch as the network and the loss take it.
#[derive(Debug, Clone, PartialEq)]
pub struct AugmentedSample {
    /// Input of the network (channel, z, y, x).
    pub image: ChannelVolume<f32>,
    /// Target of each output of the network, full resolution first.
    pub targets: Vec<SampleTarget>,
}

/// Buffers that are reused from sample to sample; one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Buffers of the resampling.
    pub(super) spatial: SpatialScratch,
    /// A channel of the image.
    pub channel: Vec<f32>,
}

impl AugmentationPolicy {
    /// Augments one crop. Crops of any size work; those of the initial patch size have data wherever
    /// the default ranges reach. A list that leaves a sample of another size than the patch is followed by a crop of the
    /// middle.
    ///
    /// # Errors
    /// A sample that does not fit the configuration.
    pub fn apply(
        &self,
        sample: Sample,
        rng: &mut SampleRng,
        scratch: &mut Scratch,
    ) -> Result<AugmentedSample, AugmentError> {
        self.apply_without(sample, &[], rng, scratch)
    }

    /// The same for a crop of a case that does not have the channels `absent`: these are 0 in the result.
    ///
    /// # Errors
    /// A sample that does not fit the configuration.
    pub fn apply_without(
        &self,
        mut sample: Sample,
        absent: &[usize],
        rng: &mut SampleRng,
        scratch: &mut Scratch,
    ) -> Result<AugmentedSample, AugmentError> {
        check_image_channels(absent, &sample)?;
        self.finish.check(&sample)?;
        self.steps.iter().try_for_each(|step| step.transform.check(&sample))?;
        let mut context = TransformContext { rng, scratch, geometry: &self.geometry, absent };
        for step in &self.steps {
            step.apply(&mut sample, &mut context);
        }
        if sample.image.shape() != self.geometry.patch {
            take_centre(&mut sample, self.geometry.patch);
        }
        for &channel in absent {
            sample.image.channel_mut(channel).fill(0.0);
        }
        Ok(self.finish.apply_unchecked(sample))
    }
}

impl FinishPolicy {
    /// Makes network input and targets of a patch without augmentation, as for validation.
    pub fn apply(&self, sample: Sample) -> Result<AugmentedSample, AugmentError> {
        self.check(&sample)?;
        Ok(self.apply_unchecked(sample))
    }

    /// Channels of the network's input for images of `image_channels` channels.
    pub fn input_channels(&self, image_channels: usize) -> usize {
        image_channels + self.cascade_labels.as_ref().map_or(0, Vec::len)
    }

    fn check(&self, sample: &Sample) -> Result<(), AugmentError> {
        let (image, segmentation) = (sample.image.shape(), sample.segmentation.shape());
        if image != segmentation {
            return Err(AugmentError::Shapes { image, segmentation });
        }
        let expected = if self.cascade_labels.is_some() { 2 } else { 1 };
        let found = sample.segmentation.channels();
        if found < expected {
            return Err(AugmentError::Channels { what: "segmentation", found, expected });
        }
        Ok(())
    }

    fn apply_unchecked(&self, mut sample: Sample) -> AugmentedSample {
        replace_label(sample.segmentation.data_mut(), OUTSIDE_LABEL, 0);
        if let Some(labels) = &self.cascade_labels {
            move_previous_stage(&mut sample, labels);
        }
        let targets = self.targets.make(sample.segmentation.channel(0), sample.image.shape());
        AugmentedSample { image: sample.image, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lists::{AugmentationList, Mirroring, lists};
    use super::super::policy::ConfigurationFacts;
    use super::super::random::derive_stream;
    use super::super::registry::transforms;
    use super::super::transform::{Transform, TransformBuilder};
    use super::*;
    use nnunet_base::parts::Choice;
    use std::sync::Arc;

    fn sample(channels: usize, shape: [usize; 3], labels: usize) -> Sample {
        let n: usize = shape.iter().product();
        let image = (0..channels * n).map(|i| ((i * 37 % 101) as f32 * 0.1).sin()).collect();
        let segmentation = (0..labels * n).map(|i| (i / 5 % 4) as i16 - 1).collect();
        Sample {
            image: ChannelVolume::new(channels, shape, image).unwrap(),
            segmentation: ChannelVolume::new(labels, shape, segmentation).unwrap(),
        }
    }

    fn policy(facts: ConfigurationFacts) -> AugmentationPolicy {
        AugmentationPolicy::default_for(&facts).unwrap()
    }

    #[test]
    fn one_stream_makes_one_sample_whatever_the_buffers_held_before() {
        let policy = policy(ConfigurationFacts { patch_size: vec![8, 10, 6], ..Default::default() });
        let run = |stream: u64, scratch: &mut Scratch| {
            let mut rng = derive_stream(stream, &[]);
            policy.apply(sample(2, policy.geometry.initial_patch, 1), &mut rng, scratch).unwrap()
        };
        let mut used = Scratch::default();
        for stream in 0..30 {
            assert_eq!(run(stream, &mut used), run(stream, &mut Scratch::default()), "stream {stream}");
        }
        assert_ne!(run(1, &mut used), run(2, &mut used));
    }

    #[test]
    fn every_kind_of_configuration_gives_its_shapes_and_finite_values() {
        let scales = Some(vec![vec![1.0; 3], vec![0.5; 3]]);
        let volume = ConfigurationFacts {
            patch_size: vec![8, 10, 6],
            deep_supervision_scales: scales,
            use_mask_for_norm: vec![true, false],
            ..Default::default()
        };
        let stack = ConfigurationFacts { patch_size: vec![3, 12, 14], ..volume.clone() };
        let slice =
            ConfigurationFacts { patch_size: vec![12, 14], deep_supervision_scales: None, ..volume.clone() };
        let regions = ConfigurationFacts {
            regions: Some(vec![vec![1, 2], vec![2]]),
            ignore_label: Some(3),
            ..volume.clone()
        };
        let cascade = ConfigurationFacts { cascade_labels: Some(vec![1, 2]), ..volume.clone() };
        for facts in [volume, stack, slice, regions, cascade] {
            for (_, _, list) in lists().iter() {
                assert_shapes_and_values(list, &facts);
            }
        }
    }

    fn assert_shapes_and_values(list: &AugmentationList, facts: &ConfigurationFacts) {
        let policy = AugmentationPolicy::new(list, facts, &transforms()).unwrap();
        let patch = policy.geometry.patch;
        let mut scratch = Scratch::default();
        for stream in 0..60 {
            let crop = sample(2, policy.geometry.initial_patch, 2);
            let mut rng = derive_stream(stream, &[]);
            let result = policy.apply(crop, &mut rng, &mut scratch).unwrap();
            assert_eq!(result.image.shape(), patch);
            assert_eq!(result.image.channels(), policy.finish.input_channels(2));
            assert!(result.image.data().iter().all(|v| v.is_finite()));
            let shapes: Vec<_> = result.targets.iter().map(SampleTarget::shape).collect();
            assert_eq!(shapes, policy.finish.targets.shapes(patch));
            for target in &result.targets {
                match (target, &facts.regions) {
                    (SampleTarget::Labels(labels), None) => {
                        assert!(labels.data().iter().all(|l| (0..3).contains(l)));
                    }
                    (SampleTarget::Regions(regions), Some(_)) => assert_eq!(regions.channels(), 3),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn transforms_of_ones_own_take_part() {
        #[derive(Debug)]
        struct Plus(f32);
        impl Transform for Plus {
            fn apply(&self, sample: &mut Sample, _: &mut TransformContext<'_>) {
                sample.image.data_mut().iter_mut().for_each(|v| *v += self.0);
            }
        }
        let mut known = transforms();
        let plus: TransformBuilder =
            Arc::new(|options, _| Ok(Some(Arc::new(Plus(options.number("amount", 1.0)? as f32)))));
        known.register("plus", "plus a number", plus).unwrap();
        let facts = ConfigurationFacts { patch_size: vec![4, 4, 4], ..Default::default() };
        let list = [Choice::new("plus").with("amount", 2.0), Choice::new("plus").with("probability", 0.0)];
        let policy = AugmentationPolicy::from_choices(&list, &facts, &known).unwrap();
        let crop = sample(1, policy.geometry.initial_patch, 1);
        let mut plain = crop.clone();
        take_centre(&mut plain, policy.geometry.patch);
        let result = policy.apply(crop, &mut derive_stream(1, &[]), &mut Scratch::default()).unwrap();
        assert!(result.image.data().iter().zip(plain.image.data()).all(|(a, b)| *a == b + 2.0));
    }

    #[test]
    fn most_samples_are_plain_crops_of_the_middle() {
        let facts = ConfigurationFacts { patch_size: vec![1, 6, 6], ..Default::default() };
        let list = AugmentationList { mirroring: Mirroring::None, ..Default::default() };
        let policy = AugmentationPolicy::new(&list, &facts, &transforms()).unwrap();
        let crop = sample(1, policy.geometry.initial_patch, 1);
        let mut plain = crop.clone();
        take_centre(&mut plain, policy.geometry.patch);
        let mut expected = plain.segmentation.data().to_vec();
        replace_label(&mut expected, -1, 0);
        let unchanged = (0..2000)
            .filter(|stream| {
                let mut rng = derive_stream(*stream, &[]);
                let result = policy.apply(crop.clone(), &mut rng, &mut Scratch::default()).unwrap();
                matches!(&result.targets[0], SampleTarget::Labels(labels) if labels.data() == expected)
            })
            .count();
        // Neither rotation nor scaling: 0.8 * 0.8.
        assert!((1200..1360).contains(&unchanged), "{unchanged} of 2000");
    }

    #[test]
    fn validation_only_makes_targets() {
        let policy = policy(ConfigurationFacts { patch_size: vec![4, 4, 4], ..Default::default() });
        let crop = sample(1, [4, 4, 4], 1);
        let result = policy.finish.apply(crop.clone()).unwrap();
        assert_eq!(result.image, crop.image);
    }

    #[test]
    fn misfits_are_errors() {
        let cascade = ConfigurationFacts {
            patch_size: vec![4, 4, 4],
            cascade_labels: Some(vec![1]),
            use_mask_for_norm: vec![false, true],
            ..Default::default()
        };
        let policy = policy(cascade);
        let mut rng = derive_stream(0, &[]);
        let mut apply = |sample| policy.apply(sample, &mut rng, &mut Scratch::default()).unwrap_err();
        let error = apply(sample(2, [4, 4, 4], 1));
        assert!(error.to_string().contains("1 segmentation channels, expected 2"), "{error}");
        let error = apply(sample(1, [4, 4, 4], 2));
        assert!(error.to_string().contains("1 image channels, expected 2"), "{error}");
        let mut crop = sample(2, [4, 4, 4], 2);
        crop.segmentation = sample(1, [4, 4, 5], 2).segmentation;
        let error = apply(crop);
        assert!(error.to_string().contains("[4, 4, 5]"), "{error}");
    }
}

//! Runs the transforms of an [`AugmentationPolicy`] on one sample.
//!
//! A sample is a crop: image (channel, z, y, x) in f32 and segmentation (channel, z, y, x) in i16,
//! whose channel 0 is the reference (-1 outside of the nonzero mask) and whose channel 1, in a
//! cascade, is the previous stage's segmentation. All randomness comes from the generator that is
//! passed in, so that one stream makes one sample.

use super::blur::gaussian_blur;
use super::brightness::scale_brightness;
use super::contrast::scale_contrast;
use super::crop::crop_centre;
use super::error::AugmentError;
use super::gamma::correct_gamma;
use super::low_resolution::simulate_low_resolution;
use super::mirror::mirror;
use super::noise::add_gaussian_noise;
use super::policy::{AugmentationPolicy, FinishPolicy};
use super::random::happens;
use super::spatial::{OUTSIDE_LABEL, SpatialMode, SpatialScratch, resample};
use super::targets::{SampleTarget, mask_outside, replace_label};
use nnunet_data::preprocess::append_one_hot;
use nnunet_volume::ChannelVolume;
use rand::Rng;

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
    spatial: SpatialScratch,
    channel: Vec<f32>,
}

impl AugmentationPolicy {
    /// Augments one crop. Crops of any size work; those of the initial patch size have data wherever
    /// the default ranges reach.
    pub fn apply(
        &self,
        sample: Sample,
        rng: &mut impl Rng,
        scratch: &mut Scratch,
    ) -> Result<AugmentedSample, AugmentError> {
        self.finish.check(&sample)?;
        if let Some(channel) = self.masked_channels.iter().max()
            && *channel >= sample.image.channels()
        {
            let found = sample.image.channels();
            return Err(AugmentError::Channels { what: "image", found, expected: channel + 1 });
        }
        let mut sample = self.take_patch(sample, rng, scratch);
        self.change_intensities(&mut sample.image, rng, scratch);
        let axes = self.mirror.draw(rng);
        let shape = sample.image.shape();
        for c in 0..sample.image.channels() {
            mirror(sample.image.channel_mut(c), shape, axes);
        }
        for c in 0..sample.segmentation.channels() {
            mirror(sample.segmentation.channel_mut(c), shape, axes);
        }
        for &c in &self.masked_channels {
            mask_outside(sample.image.channel_mut(c), sample.segmentation.channel(0));
        }
        let mut result = self.finish.apply_unchecked(sample);
        if let (Some(cascade), Some(labels)) = (&self.cascade, &self.finish.cascade_labels) {
            cascade.apply(&mut result.image, labels.len(), rng);
        }
        Ok(result)
    }

    fn take_patch(&self, sample: Sample, rng: &mut impl Rng, scratch: &mut Scratch) -> Sample {
        let patch = self.geometry.patch;
        let Some(affine) = self.spatial.draw(rng) else {
            return centre(&sample, patch);
        };
        let [slices, y, x] = sample.image.shape();
        let sample = match self.spatial.mode {
            // Slices are rotated where they are: surplus ones go first.
            SpatialMode::Slices if slices != patch[0] => centre(&sample, [patch[0], y, x]),
            _ => sample,
        };
        let (image, segmentation) =
            resample(&sample.image, &sample.segmentation, &affine, patch, &mut scratch.spatial);
        Sample { image, segmentation }
    }

    fn change_intensities(&self, image: &mut ChannelVolume<f32>, rng: &mut impl Rng, scratch: &mut Scratch) {
        let shape = image.shape();
        let channels = image.channels();
        if happens(self.noise.probability, rng) {
            let deviation = self.noise.deviation.sample(rng) as f32;
            add_gaussian_noise(image.data_mut(), deviation, rng);
        }
        if happens(self.blur.probability, rng) {
            let axes = 3 - self.geometry.dimensions..3;
            for (c, sigmas) in self.blur.draw(channels, axes, rng).into_iter().enumerate() {
                if let Some(sigmas) = sigmas {
                    gaussian_blur(image.channel_mut(c), shape, sigmas, &mut scratch.channel);
                }
            }
        }
        if happens(self.brightness.probability, rng) {
            for c in 0..channels {
                scale_brightness(image.channel_mut(c), self.brightness.factor.sample(rng) as f32);
            }
        }
        if happens(self.contrast.probability, rng) {
            for c in 0..channels {
                scale_contrast(image.channel_mut(c), self.contrast.factor.sample(rng) as f32);
            }
        }
        if happens(self.low_resolution.probability, rng) {
            for (c, scale) in self.low_resolution.draw(channels, rng).into_iter().enumerate() {
                if let Some(scale) = scale {
                    simulate_low_resolution(image.channel_mut(c), shape, scale, &mut scratch.channel);
                }
            }
        }
        for gamma in &self.gamma {
            if happens(gamma.probability, rng) {
                for c in 0..channels {
                    correct_gamma(image.channel_mut(c), gamma.gamma.sample(rng) as f32, gamma.direction);
                }
            }
        }
    }
}

fn centre(sample: &Sample, patch: [usize; 3]) -> Sample {
    Sample {
        image: crop_centre(&sample.image, patch, 0.0),
        segmentation: crop_centre(&sample.segmentation, patch, OUTSIDE_LABEL),
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

    fn apply_unchecked(&self, sample: Sample) -> AugmentedSample {
        let Sample { mut image, mut segmentation } = sample;
        replace_label(segmentation.data_mut(), OUTSIDE_LABEL, 0);
        if let Some(labels) = &self.cascade_labels {
            image = append_one_hot(image, segmentation.channel(1), labels);
        }
        let targets = self.targets.make(segmentation.channel(0), image.shape());
        AugmentedSample { image, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::ConfigurationFacts;
    use super::super::random::derive_stream;
    use super::*;

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
            let policy = policy(facts.clone());
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
    }

    #[test]
    fn most_samples_are_plain_crops_of_the_middle() {
        let mut policy = policy(ConfigurationFacts { patch_size: vec![1, 6, 6], ..Default::default() });
        policy.mirror.probability = 0.0;
        let crop = sample(1, policy.geometry.initial_patch, 1);
        let plain = centre(&crop, policy.geometry.patch);
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

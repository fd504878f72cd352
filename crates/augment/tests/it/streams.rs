//! The default list draws the same random numbers in the same order from release to release: a training that is
//! resumed or repeated with its seed sees the samples that it saw before.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used)]

use nnunet_augment::random::derive_stream;
use nnunet_augment::{
    AugmentationPolicy, AugmentedSample, ConfigurationFacts, Sample, SampleTarget, Scratch,
};
use nnunet_volume::ChannelVolume;

/// FNV-1a over every bit of a sample.
struct Checksum(u64);

impl Checksum {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn add_sample(&mut self, sample: &AugmentedSample) {
        sample.image.data().iter().for_each(|v| self.add(&v.to_bits().to_le_bytes()));
        for target in &sample.targets {
            match target {
                SampleTarget::Labels(labels) => {
                    labels.data().iter().for_each(|l| self.add(&l.to_le_bytes()));
                }
                SampleTarget::Regions(regions) => {
                    regions.data().iter().for_each(|r| self.add(&[u8::from(*r)]));
                }
            }
        }
    }
}

/// Waves as image, stripes with some outside as segmentation; all values are exact in every libm.
fn crop(channels: usize, shape: [usize; 3], labels: usize) -> Sample {
    let n: usize = shape.iter().product();
    let image = (0..channels * n).map(|i| ((i * 7919) % 1009) as f32 / 256.0 - 1.5).collect();
    let segmentation = (0..labels * n).map(|i| ((i / 7) % 4) as i16 - 1).collect();
    Sample {
        image: ChannelVolume::new(channels, shape, image).unwrap(),
        segmentation: ChannelVolume::new(labels, shape, segmentation).unwrap(),
    }
}

fn configurations() -> Vec<(&'static str, ConfigurationFacts)> {
    let volume = ConfigurationFacts {
        patch_size: vec![12, 14, 10],
        deep_supervision_scales: Some(vec![vec![1.0; 3], vec![0.5; 3]]),
        use_mask_for_norm: vec![true, false],
        ..Default::default()
    };
    let stack = ConfigurationFacts { patch_size: vec![3, 12, 14], ..volume.clone() };
    let slice =
        ConfigurationFacts { patch_size: vec![20, 14], deep_supervision_scales: None, ..volume.clone() };
    let regions = ConfigurationFacts {
        regions: Some(vec![vec![1, 2], vec![2]]),
        ignore_label: Some(3),
        ..volume.clone()
    };
    let cascade = ConfigurationFacts { cascade_labels: Some(vec![1, 2]), ..volume.clone() };
    vec![("volume", volume), ("stack", stack), ("slice", slice), ("regions", regions), ("cascade", cascade)]
}

/// Checksums over 200 samples of each configuration, made before the pipeline became a list of transforms.
const RECORDED: [(&str, u64); 5] = [
    ("volume", 3_959_109_275_372_056_790),
    ("stack", 5_662_067_344_232_118_098),
    ("slice", 13_813_133_194_148_904_202),
    ("regions", 16_995_623_084_043_840_536),
    ("cascade", 18_073_427_218_715_418_091),
];

/// `pow`, `sin` and `cos` come from the platform, so that the recorded bits are those of one platform.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn the_default_list_draws_the_recorded_samples() {
    let found: Vec<(&str, u64)> = configurations()
        .into_iter()
        .map(|(name, facts)| {
            let policy = AugmentationPolicy::default_for(&facts).unwrap();
            let labels = 1 + usize::from(facts.cascade_labels.is_some());
            let mut scratch = Scratch::default();
            let mut checksum = Checksum::new();
            for stream in 0..200 {
                let crop = crop(2, policy.geometry.initial_patch, labels);
                let mut rng = derive_stream(stream, &[]);
                checksum.add_sample(&policy.apply(crop, &mut rng, &mut scratch).unwrap());
            }
            (name, checksum.0)
        })
        .collect();
    assert_eq!(found, RECORDED);
}

//! Time of one augmented training sample, for patches of common shapes: the mean over the default
//! policy's draws, and the most expensive transform (rotation with scaling) alone.
//!
//! Beside it stands `augment_reference.py`, which times the reference on the same shapes.
#![allow(clippy::unwrap_used)]

use divan::{Bencher, black_box, counter::ItemsCount};
use nnunet_augment::random::derive_stream;
use nnunet_augment::spatial::{Affine, SpatialMode, SpatialScratch, resample, slice_matrix, volume_matrix};
use nnunet_augment::{AugmentationPolicy, ConfigurationFacts, Sample, Scratch};
use nnunet_volume::ChannelVolume;
use std::cell::Cell;

const PATCHES: [&[usize]; 4] = [&[40, 56, 40], &[16, 160, 160], &[56, 40], &[128, 128, 128]];

fn main() {
    divan::main();
}

fn policy(patch_size: &[usize]) -> AugmentationPolicy {
    let scales = [1.0, 0.5, 0.25].iter().map(|s| vec![*s; patch_size.len()]).collect();
    let facts = ConfigurationFacts {
        patch_size: patch_size.to_vec(),
        deep_supervision_scales: Some(scales),
        ..Default::default()
    };
    AugmentationPolicy::default_for(&facts).unwrap()
}

/// One channel of noise and two nested balls as labels.
fn crop(shape: [usize; 3]) -> Sample {
    let voxels: usize = shape.iter().product();
    let image = (0..voxels).map(|i| ((i * 7919) % 1009) as f32 / 300.0 - 1.7).collect();
    let radius = shape.iter().filter(|s| **s > 1).min().copied().unwrap_or(1) as f32 / 3.0;
    let labels = (0..voxels).map(|i| {
        let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        let distance: f32 = (0..3).map(|d| (at[d] as f32 - (shape[d] / 2) as f32).powi(2)).sum();
        i16::from(distance.sqrt() < radius) + i16::from(distance.sqrt() < radius / 2.0)
    });
    Sample {
        image: ChannelVolume::new(1, shape, image).unwrap(),
        segmentation: ChannelVolume::new(1, shape, labels.collect()).unwrap(),
    }
}

#[divan::bench(args = PATCHES, sample_count = 400, max_time = 6)]
fn default_policy(bencher: Bencher, patch: &[usize]) {
    let policy = policy(patch);
    let sample = crop(policy.geometry.initial_patch);
    let mut scratch = Scratch::default();
    let stream = Cell::new(0u64);
    bencher
        .counter(ItemsCount::new(policy.geometry.patch.iter().product::<usize>()))
        .with_inputs(|| {
            stream.set(stream.get() + 1);
            (sample.clone(), derive_stream(stream.get(), &[]))
        })
        .bench_local_values(|(sample, mut rng)| black_box(policy.apply(sample, &mut rng, &mut scratch)));
}

#[divan::bench(args = PATCHES, max_time = 3)]
fn rotate_and_scale(bencher: Bencher, patch: &[usize]) {
    let policy = policy(patch);
    let sample = crop(policy.geometry.initial_patch);
    let affine = match policy.geometry.mode {
        SpatialMode::Volume => Affine::Volume(volume_matrix([0.3, -0.2, 0.4], [1.1; 3])),
        SpatialMode::Slices => Affine::Slices(slice_matrix(0.7, [1.1; 2])),
    };
    let mut scratch = SpatialScratch::default();
    bencher.counter(ItemsCount::new(policy.geometry.patch.iter().product::<usize>())).bench_local(|| {
        let (image, labels) = (&sample.image, &sample.segmentation);
        black_box(resample(image, labels, &affine, policy.geometry.patch, &mut scratch))
    });
}

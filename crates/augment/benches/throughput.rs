//! Patches per second that loader threads make: every thread augments crops of its own with one list of transforms.
//!
//! `throughput_reference.py` beside it runs this program and the reference's transforms with as many processes, and prints
//! the ratio. Arguments: list, patch size (`128,128,128`), threads, samples per thread.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use nnunet_augment::random::derive_stream;
use nnunet_augment::{AugmentationPolicy, ConfigurationFacts, Sample, Scratch, lists, transforms};
use nnunet_volume::ChannelVolume;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let argument = |i: usize, default: &str| arguments.get(i).cloned().unwrap_or(default.to_owned());
    let list = argument(0, "default");
    let patch: Vec<usize> = argument(1, "128,128,128").split(',').map(|n| n.parse().unwrap()).collect();
    let threads: u64 = argument(2, "2").parse().unwrap();
    let samples: u64 = argument(3, "25").parse().unwrap();

    let scales = [1.0, 0.5, 0.25].iter().map(|s| vec![*s; patch.len()]).collect();
    let facts =
        ConfigurationFacts { patch_size: patch, deep_supervision_scales: Some(scales), ..Default::default() };
    let policy = AugmentationPolicy::new(lists().get(&list).unwrap(), &facts, &transforms()).unwrap();
    let crop = crop(policy.geometry.initial_patch);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (policy, crop) = (&policy, &crop);
            scope.spawn(move || {
                let mut scratch = Scratch::default();
                for i in 0..samples {
                    let mut rng = derive_stream(i, &[thread]);
                    policy.apply(crop.clone(), &mut rng, &mut scratch).unwrap();
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.3} patches per second", (threads * samples) as f64 / seconds);
}

/// One channel that is smooth with some noise, and two nested balls as labels.
fn crop(shape: [usize; 3]) -> Sample {
    let at = |i: usize| [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
    let voxels: usize = shape.iter().product();
    let image = (0..voxels).map(|i| {
        let wave: f32 = at(i).iter().map(|p| (*p as f32 * 0.1).sin()).sum();
        wave + ((i * 7919) % 1009) as f32 / 2000.0
    });
    let radius = shape.iter().filter(|s| **s > 1).min().copied().unwrap_or(1) as f32 / 3.0;
    let labels = (0..voxels).map(|i| {
        let place = at(i);
        let distance: f32 = (0..3).map(|d| (place[d] as f32 - (shape[d] / 2) as f32).powi(2)).sum();
        i16::from(distance.sqrt() < radius) + i16::from(distance.sqrt() < radius / 2.0)
    });
    Sample {
        image: ChannelVolume::new(1, shape, image.collect()).unwrap(),
        segmentation: ChannelVolume::new(1, shape, labels.collect()).unwrap(),
    }
}

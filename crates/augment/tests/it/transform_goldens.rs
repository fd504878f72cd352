//! Every transform that the older goldens do not have against the reference's implementation: with fixed parameters for
//! equal outputs, with drawn ones for equal distributions. The latter go through the trainers' lists, so that they hold
//! probabilities and ranges to the reference's as well.
//!
//! Tolerances: images 2e-5 absolute (values are of order one), labels exact.

// A helper that fails must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nnunet_augment::blank_rectangles::blank;
use nnunet_augment::channel_misalignment::misalign;
use nnunet_augment::contrast::scale_contrast_freely;
use nnunet_augment::cut_off::cut_off;
use nnunet_augment::gamma::{GammaDirection, GammaStatistics, correct_gamma};
use nnunet_augment::geometry::{initial_slice, initial_volume};
use nnunet_augment::invert::invert;
use nnunet_augment::local::{
    Bump, add_gradient, correct_gamma_locally, scale_contrast_locally, smooth_locally,
};
use nnunet_augment::median_filter::median_filter;
use nnunet_augment::random::derive_stream;
use nnunet_augment::rician_noise::add_rician_noise;
use nnunet_augment::rotate90::{rotate90, transpose_channels};
use nnunet_augment::sharpen::sharpen;
use nnunet_augment::spatial::{
    Affine, Displacement, Interpolation, Sampling, SpatialScratch, resample_with, slice_matrix,
    smooth_by_sigma, smooth_to_magnitude, volume_matrix,
};
use nnunet_augment::{
    AugmentationPolicy, BuildContext, ConfigurationFacts, Sample, Scratch, Step, TransformContext, lists,
    transforms,
};
use nnunet_base::parts::Choice;
use nnunet_testkit::npy::{Array, read_npz};
use nnunet_volume::ChannelVolume;
use serde_json::Value;

const IMAGE_TOLERANCE: f32 = 2e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transforms")
}

struct Goldens {
    index: Value,
    arrays: BTreeMap<String, Array>,
}

fn goldens() -> Goldens {
    let index = serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap();
    Goldens { index, arrays: read_npz(folder().join("goldens.npz")).into_iter().collect() }
}

impl Goldens {
    /// All goldens with fixed parameters whose name begins with `prefix`.
    fn fixed(&self, prefix: &str) -> Vec<Golden<'_>> {
        let all = self.index["fixed"].as_array().unwrap().iter();
        let found: Vec<_> = all
            .map(|parameters| Golden {
                name: parameters["name"].as_str().unwrap(),
                parameters,
                arrays: &self.arrays,
            })
            .filter(|golden| golden.name.starts_with(prefix))
            .collect();
        assert!(!found.is_empty(), "no goldens for {prefix}");
        found
    }
}

/// One transform: its name, parameters and arrays.
struct Golden<'a> {
    name: &'a str,
    parameters: &'a Value,
    arrays: &'a BTreeMap<String, Array>,
}

impl Golden<'_> {
    fn array(&self, key: &str) -> &Array {
        &self.arrays[&format!("{}.{key}", self.name)]
    }

    fn volume(&self, key: &str) -> ChannelVolume<f32> {
        let array = self.array(key);
        let (channels, shape) = layout(&array.shape);
        ChannelVolume::new(channels, shape, array.f32()).unwrap()
    }

    fn labels(&self, key: &str) -> ChannelVolume<i16> {
        let array = self.array(key);
        let (channels, shape) = layout(&array.shape);
        ChannelVolume::new(channels, shape, array.data.iter().map(|v| *v as i16).collect()).unwrap()
    }

    /// First of (z, y, x) that the arrays have.
    fn first_axis(&self) -> usize {
        4 - self.array("image").shape.len()
    }

    fn number(&self, key: &str) -> f64 {
        self.parameters[key].as_f64().unwrap()
    }

    fn flag(&self, key: &str) -> bool {
        self.parameters[key].as_bool().unwrap()
    }

    /// Numbers per axis as (z, y, x), `fill` for the missing first axis of slices.
    fn per_axis(&self, key: &str, fill: f64) -> [f64; 3] {
        let numbers: Vec<f64> =
            self.parameters[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        match *numbers {
            [y, x] => [fill, y, x],
            [z, y, x] => [z, y, x],
            _ => panic!("{}: {numbers:?}", self.name),
        }
    }

    fn affine(&self) -> Affine {
        let (angles, [z, y, x]) = (self.per_axis("angles", 0.0), self.per_axis("scales", 1.0));
        match self.first_axis() {
            0 => Affine::Volume(volume_matrix(angles, [z, y, x])),
            _ => Affine::Slices(slice_matrix(angles[2], [y, x])),
        }
    }

    fn bump(&self) -> Bump {
        let shape = self.volume("image").shape();
        let locations = self.per_axis("locations", 0.0);
        let centre = std::array::from_fn(|d| locations[d] * shape[d] as f64);
        Bump::new(shape, self.first_axis(), centre, self.per_axis("scales", 0.0))
    }

    fn assert_image(&self, found: &ChannelVolume<f32>) {
        self.assert_image_within(found, IMAGE_TOLERANCE);
    }

    fn assert_image_within(&self, found: &ChannelVolume<f32>, tolerance: f32) {
        let expected = self.volume("out");
        let layout = |volume: &ChannelVolume<f32>| (volume.channels(), volume.shape());
        assert_eq!(layout(found), layout(&expected), "{}", self.name);
        for (i, (a, b)) in found.data().iter().zip(expected.data()).enumerate() {
            assert!((a - b).abs() <= tolerance, "{} at {i}: {a}, expected {b}", self.name);
        }
    }

    /// Applies `change` to the first channel and compares.
    fn assert_channel(&self, change: impl FnOnce(&mut [f32], [usize; 3])) {
        let mut image = self.volume("image");
        let shape = image.shape();
        change(image.channel_mut(0), shape);
        self.assert_image(&image);
    }
}

fn layout(shape: &[usize]) -> (usize, [usize; 3]) {
    match *shape {
        [c, y, x] => (c, [1, y, x]),
        [c, z, y, x] => (c, [z, y, x]),
        _ => panic!("shape {shape:?}"),
    }
}

#[test]
fn sharpening() {
    for golden in goldens().fixed("sharpen") {
        golden.assert_channel(|channel, shape| {
            let low = channel.iter().copied().fold(f32::INFINITY, f32::min);
            let high = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            sharpen(channel, shape, golden.number("strength") as f32, golden.first_axis(), &mut Vec::new());
            if golden.flag("clamp") {
                channel.iter_mut().for_each(|v| *v = v.clamp(low, high));
            }
        });
    }
}

#[test]
fn medians() {
    for golden in goldens().fixed("median") {
        let size = golden.number("size") as usize;
        let window = std::array::from_fn(|d| if d < golden.first_axis() { 1 } else { size });
        let mut image = golden.volume("image");
        let shape = image.shape();
        median_filter(image.channel_mut(0), shape, window);
        assert_eq!(image, golden.volume("out"), "{}", golden.name);
    }
}

#[test]
fn blank_boxes() {
    for golden in goldens().fixed("blank") {
        let (lower, upper) = (golden.per_axis("lower", 0.0), golden.per_axis("upper", 1.0));
        let region = std::array::from_fn(|d| [lower[d] as usize, (upper[d] - lower[d]) as usize]);
        golden.assert_channel(|channel, shape| blank(channel, shape, region, None));
    }
}

#[test]
fn bumps() {
    for golden in goldens().fixed("bump") {
        let bump = golden.bump();
        golden.assert_channel(|channel, _| {
            bump.for_each_row(channel, |row, weights| {
                row.iter_mut().zip(weights).for_each(|(value, weight)| *value = *weight);
            });
        });
    }
}

#[test]
fn local_transforms() {
    let goldens = goldens();
    for golden in goldens.fixed("gradient") {
        let (strength, centred) = (golden.number("strength") as f32, golden.flag("mean_centred"));
        golden.assert_channel(|channel, _| add_gradient(channel, &golden.bump(), strength, centred));
    }
    for golden in goldens.fixed("local_contrast") {
        let factor = golden.number("factor") as f32;
        golden.assert_channel(|channel, _| scale_contrast_locally(channel, &golden.bump(), factor));
    }
    for golden in goldens.fixed("local_gamma") {
        let gamma = golden.number("gamma") as f32;
        golden.assert_channel(|channel, _| correct_gamma_locally(channel, &golden.bump(), gamma));
    }
    for golden in goldens.fixed("local_smoothing") {
        let (strength, sigma) = (golden.number("strength") as f32, golden.number("sigma"));
        let first = golden.first_axis();
        golden.assert_channel(|channel, shape| {
            smooth_locally(channel, shape, &golden.bump(), strength, sigma, first, &mut Vec::new());
        });
    }
}

#[test]
fn elastic_displacements() {
    let goldens = goldens();
    for golden in goldens.fixed("elastic_magnitude") {
        let mut noise = golden.volume("image");
        let shape = noise.shape();
        let magnitude = golden.number("magnitude") as f32;
        for c in 0..noise.channels() {
            let sigma = golden.number("sigma");
            smooth_to_magnitude(noise.channel_mut(c), shape, sigma, magnitude, &mut Vec::new());
        }
        golden.assert_image_within(&noise, IMAGE_TOLERANCE * magnitude);
    }
    for golden in goldens.fixed("elastic_alpha") {
        let mut noise = golden.volume("image");
        let (shape, first) = (noise.shape(), golden.first_axis());
        let (alpha, sigma) = (golden.number("alpha") as f32, golden.number("sigma"));
        for c in 0..noise.channels() {
            smooth_by_sigma(noise.channel_mut(c), shape, first, sigma, alpha, &mut Vec::new());
        }
        golden.assert_image_within(&noise, IMAGE_TOLERANCE * alpha);
    }
}

#[test]
fn displaced_shifted_and_nearest_patches() {
    for golden in goldens().fixed("spatial") {
        let (image, labels) = (golden.volume("image"), golden.labels("seg"));
        let patch = golden.per_axis("patch", 1.0).map(|v| v as usize);
        let mode = match golden.parameters["mode"].as_str().unwrap() {
            "nearest" => Interpolation::Nearest,
            _ => Interpolation::Linear,
        };
        let offsets = golden.volume("offsets");
        let displacement = golden.flag("displaced").then(|| Displacement {
            components: std::array::from_fn(|d| match d.checked_sub(golden.first_axis()) {
                Some(c) => offsets.channel(c).to_vec(),
                None => Vec::new(),
            }),
            shape: patch,
            centred: true,
        });
        let shift = golden.per_axis("centre", 0.0).map(|v| v as f32);
        let sampling =
            Sampling { affine: golden.affine(), displacement, shift, image: mode, segmentation: mode };
        let (found, found_labels) =
            resample_with(&image, &labels, &sampling, patch, &mut SpatialScratch::default());
        golden.assert_image(&found);
        assert_eq!(found_labels.data(), golden.labels("out_seg").data(), "{}", golden.name);
    }
}

#[test]
fn misaligned_channels() {
    for golden in goldens().fixed("misalignment") {
        let mut image = golden.volume("image");
        let affine = (!golden.parameters["angles"].is_null()).then(|| golden.affine());
        let shift = golden.per_axis("shift", 0.0).map(|v| v as isize);
        misalign(&mut image, 1, affine.as_ref(), shift, &mut SpatialScratch::default());
        golden.assert_image(&image);
    }
}

#[test]
fn turned_and_transposed_axes() {
    let goldens = goldens();
    let numbers = |golden: &Golden<'_>, key: &str| -> Vec<usize> {
        let values = golden.parameters[key].as_array().unwrap().iter();
        values.map(|v| v.as_u64().unwrap() as usize).collect()
    };
    for golden in goldens.fixed("rotate90") {
        let mut image = golden.volume("image");
        let axes = numbers(&golden, "axes");
        rotate90(&mut image, golden.number("turns") as usize, [axes[0], axes[1]]);
        assert_eq!(image, golden.volume("out"), "{}", golden.name);
    }
    for golden in goldens.fixed("transpose") {
        let mut image = golden.volume("image");
        transpose_channels(&mut image, numbers(&golden, "order").try_into().unwrap());
        assert_eq!(image, golden.volume("out"), "{}", golden.name);
    }
}

#[test]
fn intensities() {
    let goldens = goldens();
    goldens.fixed("invert")[0].assert_channel(|channel, _| invert(channel));
    for golden in goldens.fixed("cut_off") {
        let percentiles = [golden.number("lower") as f32, golden.number("upper") as f32];
        let retain = golden.flag("retain");
        golden.assert_channel(|channel, _| cut_off(channel, percentiles, retain, &mut Vec::new()));
    }
    for golden in goldens.fixed("contrast_free") {
        let factor = golden.number("factor") as f32;
        golden.assert_channel(|channel, _| scale_contrast_freely(channel, factor));
    }
    for golden in goldens.fixed("gamma_free") {
        let gamma = golden.number("gamma") as f32;
        golden.assert_channel(|channel, _| {
            correct_gamma(channel, gamma, GammaDirection::Plain, GammaStatistics::AsTheyCome);
        });
    }
    let golden = &goldens.fixed("rician")[0];
    let noise = golden.array("noise").f32();
    let (real, imaginary) = noise.split_at(noise.len() / 2);
    let mut pairs = real.iter().zip(imaginary).map(|(a, b)| [*a, *b]);
    let mut image = golden.volume("image");
    add_rician_noise(image.data_mut(), || pairs.next().unwrap());
    golden.assert_image(&image);
}

#[test]
fn initial_patches_of_stronger_lists() {
    for case in goldens().index["initial_patch"].as_array().unwrap() {
        let sizes = |key: &str| -> Vec<usize> {
            case[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let angle = case["degrees"].as_f64().unwrap().to_radians();
        let scale = case["smallest_scale"].as_f64().unwrap();
        let found = match *sizes("patch") {
            [z, y, x] => initial_volume([z, y, x], angle, scale).to_vec(),
            [y, x] => initial_slice([y, x], angle, scale).to_vec(),
            _ => panic!("{case}"),
        };
        assert_eq!(found, sizes("out"), "{case}");
    }
}

/// Draws on this side; the reference's side has 300.
const DRAWS: u64 = 1200;

#[test]
fn drawn_transforms_have_the_references_distributions() {
    let goldens = goldens();
    let mut compared = 0;
    for entry in goldens.index["distributions"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let counts = |key: &str| -> Option<Vec<usize>> {
            entry[key].as_array().map(|a| a.iter().map(|v| v.as_u64().unwrap() as usize).collect())
        };
        let facts = ConfigurationFacts {
            patch_size: counts("patch").unwrap(),
            use_mask_for_norm: vec![false, true],
            cascade_labels: (entry["cascade"] == Value::Bool(true)).then(|| vec![1, 2]),
            ..Default::default()
        };
        let (policy, mut choice) = chosen(entry, &facts);
        if let Some(probability) = entry["probability"].as_f64() {
            let found = choice.options.get("probability").map_or(1.0, |p| p.as_f64().unwrap());
            assert_eq!(found, probability, "{name}: {choice:?}");
            choice.options.insert("probability".to_owned(), Value::from(1.0));
        }
        let Some(shape) = counts("shape") else { continue };
        let known = transforms();
        let context = BuildContext {
            facts: &facts,
            geometry: &policy.geometry,
            mirror_axes: policy.mirroring_axes.as_deref().unwrap(),
            transforms: &known,
        };
        let step = Step::build(&choice, &context).unwrap().unwrap();
        let found = drawn_statistics(entry, &policy, &step, &shape);
        let expected = &goldens.arrays[&format!("{name}.statistics")];
        for (k, mut found) in found.into_iter().enumerate() {
            let draws = expected.shape[1];
            let expected: Vec<f64> =
                expected.f32()[k * draws..][..draws].iter().map(|v| f64::from(*v)).collect();
            found.sort_by(f64::total_cmp);
            let distance = largest_difference(&expected, &found);
            // Equal distributions exceed this once in ten thousand comparisons.
            let limit = 2.23 * (1.0 / draws as f64 + 1.0 / DRAWS as f64).sqrt();
            assert!(distance < limit, "{name}, statistic {k}: {distance} of {limit}, {choice:?}");
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

/// The policy and the transform that a golden is about.
fn chosen(entry: &Value, facts: &ConfigurationFacts) -> (AugmentationPolicy, Choice) {
    let Some(list) = entry["list"].as_str() else {
        let choice = Choice::from_value(&entry["choice"]).unwrap();
        return (AugmentationPolicy::default_for(facts).unwrap(), choice);
    };
    let policy = AugmentationPolicy::new(lists().get(list).unwrap(), facts, &transforms()).unwrap();
    let choice = policy.steps[entry["index"].as_u64().unwrap() as usize].choice.clone();
    match entry["part"].as_u64() {
        None => (policy, choice),
        Some(part) => {
            let parts = choice.options["of"].as_array().unwrap();
            (policy, Choice::from_value(&parts[part as usize]).unwrap())
        }
    }
}

/// Standard deviation and a weighted mean of the image, a weighted sum of the labels, for every draw.
fn drawn_statistics(
    entry: &Value,
    policy: &AugmentationPolicy,
    step: &Step,
    shape: &[usize],
) -> [Vec<f64>; 3] {
    let (_, shape) = layout(&[&[1], shape].concat());
    let seg_channels = entry["seg_channels"].as_u64().unwrap() as usize;
    let n: usize = shape.iter().product();
    let image = match entry["one_hot"].as_bool() {
        Some(true) => blocks(shape),
        _ => (0..2 * n)
            .map(|i| ((i * 7919) % 1009) as f32 / 512.0 - 1.0 + (i % shape[2]) as f32 / 8.0)
            .collect(),
    };
    let segmentation = (0..seg_channels * n).map(|i| ((i / 7) % 4) as i16 - 1).collect();
    let sample = Sample {
        image: ChannelVolume::new(2, shape, image).unwrap(),
        segmentation: ChannelVolume::new(seg_channels, shape, segmentation).unwrap(),
    };
    let mut scratch = Scratch::default();
    let mut result = [const { Vec::new() }; 3];
    for stream in 0..DRAWS {
        let mut sample = sample.clone();
        let mut rng = derive_stream(stream, &[41]);
        let mut context = TransformContext {
            rng: &mut rng,
            scratch: &mut scratch,
            geometry: &policy.geometry,
            absent: &[],
        };
        step.apply(&mut sample, &mut context);
        let image = sample.image.data();
        let count = image.len() as f64;
        let mean = image.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let squares: f64 = image.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let weighted: f64 = image.iter().enumerate().map(|(i, v)| f64::from(*v) * (i % 97) as f64).sum();
        let labels = sample.segmentation.data().iter().enumerate();
        result[0].push((squares / count).sqrt());
        result[1].push(weighted / count);
        result[2].push(labels.map(|(i, l)| f64::from(*l) * (i % 89) as f64).sum());
    }
    result
}

/// Two labels as channels.
fn blocks(shape: [usize; 3]) -> Vec<f32> {
    let label = |i: usize| {
        let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        (at[0] / 4 + 2 * (at[1] / 5) + 3 * (at[2] / 6)) % 3
    };
    let n: usize = shape.iter().product();
    (0..2 * n).map(|i| f32::from(u8::from(label(i % n) == i / n + 1))).collect()
}

/// The Kolmogorov-Smirnov distance of two sorted samples. Values that differ by rounding count as equal: many transforms
/// leave some samples as they are, all with one value of the statistic.
fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    let all = || a.iter().chain(b).copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let rounding = 1e-4 * (high - low) + 1e-5 * low.abs().max(high.abs());
    let share =
        |values: &[f64], limit: f64| values.partition_point(|v| *v <= limit) as f64 / values.len() as f64;
    let excess = |a: &[f64], b: &[f64], x: f64| share(a, x - rounding) - share(b, x + rounding);
    all().map(|x| excess(a, b, x).max(excess(b, a, x))).fold(0.0, f64::max)
}

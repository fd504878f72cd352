//! Every deterministic transform against the reference's implementation with fixed parameters, on the
//! goldens of this repository and, where it exists, on the larger ones of the folder of references.
//!
//! Tolerances: images 2e-5 absolute (values are of order one); label maps and binary operators exact.

// A helper that fails must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

use nnunet_augment::blur::gaussian_blur;
use nnunet_augment::cascade::{BinaryOperator, StructuringElement, apply_operator};
use nnunet_augment::contrast::scale_contrast;
use nnunet_augment::crop::crop_centre;
use nnunet_augment::gamma::{GammaDirection, GammaStatistics, correct_gamma};
use nnunet_augment::geometry::{initial_slice, initial_volume};
use nnunet_augment::low_resolution::simulate_low_resolution;
use nnunet_augment::spatial::{Affine, SpatialScratch, resample, slice_matrix, volume_matrix};
use nnunet_augment::targets::downsample_labels;
use nnunet_testkit::npy::{Array, read_npz};
use nnunet_testkit::shared::shared_path;
use nnunet_volume::ChannelVolume;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const IMAGE_TOLERANCE: f32 = 2e-5;

/// One transform: its name, parameters and arrays.
struct Golden {
    name: String,
    parameters: Value,
    arrays: BTreeMap<String, Array>,
}

impl Golden {
    fn numbers(&self, key: &str) -> Vec<f64> {
        self.parameters[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn number(&self, key: &str) -> f64 {
        self.parameters[key].as_f64().unwrap()
    }

    fn image(&self, key: &str) -> ChannelVolume<f32> {
        let array = &self.arrays[key];
        let (channels, shape) = layout(array);
        ChannelVolume::new(channels, shape, array.f32()).unwrap()
    }

    fn labels(&self, key: &str) -> ChannelVolume<i16> {
        let array = &self.arrays[key];
        let (channels, shape) = layout(array);
        ChannelVolume::new(channels, shape, array.data.iter().map(|v| *v as i16).collect()).unwrap()
    }

    fn is_flat(&self, key: &str) -> bool {
        self.arrays[key].shape.len() == 3
    }

    /// Numbers per axis of the image as (z, y, x), `fill` for the missing first axis of slices.
    fn per_axis(&self, numbers: &[f64], fill: f64) -> [f64; 3] {
        match *numbers {
            [y, x] => [fill, y, x],
            [z, y, x] => [z, y, x],
            _ => panic!("{}: {numbers:?}", self.name),
        }
    }

    fn assert_image(&self, found: &ChannelVolume<f32>) {
        let expected = self.image("out_image");
        assert_eq!(
            (found.channels(), found.shape()),
            (expected.channels(), expected.shape()),
            "{}",
            self.name
        );
        for (i, (a, b)) in found.data().iter().zip(expected.data()).enumerate() {
            assert!((a - b).abs() <= IMAGE_TOLERANCE, "{} at {i}: {a}, expected {b}", self.name);
        }
    }
}

fn layout(array: &Array) -> (usize, [usize; 3]) {
    match *array.shape {
        [c, y, x] => (c, [1, y, x]),
        [c, z, y, x] => (c, [z, y, x]),
        _ => panic!("shape {:?}", array.shape),
    }
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All goldens whose name begins with `prefix`.
fn goldens(prefix: &str) -> Vec<Golden> {
    let own = read_json(&own_folder().join("index.json"));
    let all = read_npz(own_folder().join("goldens.npz"));
    let mut result = Vec::new();
    for parameters in own["transforms"].as_array().unwrap() {
        let name = parameters["name"].as_str().unwrap().to_owned();
        let key = format!("{name}.");
        let arrays = all.iter().filter_map(|(k, v)| Some((k.strip_prefix(&key)?.to_owned(), v.clone())));
        result.push(Golden { arrays: arrays.collect(), name, parameters: parameters.clone() });
    }
    if let Some(folder) = shared_path("reference/unit/transforms") {
        for parameters in read_json(&folder.join("index.json")).as_array().unwrap() {
            let name = parameters["name"].as_str().unwrap().to_owned();
            let arrays = read_npz(folder.join(format!("{name}.npz")));
            result.push(Golden { name, parameters: parameters.clone(), arrays });
        }
    }
    result.retain(|g| g.name.starts_with(prefix));
    assert!(!result.is_empty(), "no goldens for {prefix}");
    result
}

#[test]
fn spatial() {
    for golden in goldens("spatial") {
        let (image, labels) = (golden.image("image"), golden.labels("seg"));
        let patch = golden.per_axis(&golden.numbers("patch"), 1.0).map(|v| v as usize);
        let (found, found_labels) = if golden.parameters["angles"].is_null() {
            (crop_centre(&image, patch, 0.0), crop_centre(&labels, patch, -1))
        } else {
            let (angles, scales) = (golden.numbers("angles"), golden.numbers("scales"));
            let affine = if golden.is_flat("image") {
                Affine::Slices(slice_matrix(*angles.last().unwrap(), [scales[0], scales[1]]))
            } else {
                Affine::Volume(volume_matrix(golden.per_axis(&angles, 0.0), golden.per_axis(&scales, 1.0)))
            };
            resample(&image, &labels, &affine, patch, &mut SpatialScratch::default())
        };
        golden.assert_image(&found);
        let expected = golden.labels("out_seg");
        let differing = found_labels.data().iter().zip(expected.data()).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{}: differing labels of {}", golden.name, expected.data().len());
    }
}

#[test]
fn slices_of_a_stack_are_rotated_alike() {
    // A stack of slices gives, slice by slice, what each slice gives alone.
    let golden = &goldens("spatial_slice")[0];
    let (image, labels) = (golden.image("image"), golden.labels("seg"));
    let [_, y, x] = image.shape();
    let stack = ChannelVolume::new(1, [2, y, x], image.data().to_vec()).unwrap();
    let stack_labels = ChannelVolume::new(1, [2, y, x], labels.data().repeat(2)).unwrap();
    let patch = golden.numbers("patch").iter().map(|v| *v as usize).collect::<Vec<_>>();
    let affine = Affine::Slices(slice_matrix(golden.numbers("angles")[0], [golden.numbers("scales")[0]; 2]));
    let (found, found_labels) =
        resample(&stack, &stack_labels, &affine, [2, patch[0], patch[1]], &mut SpatialScratch::default());
    let expected = golden.image("out_image");
    assert!(found.data().iter().zip(expected.data()).all(|(a, b)| (a - b).abs() <= IMAGE_TOLERANCE));
    assert_eq!(found_labels.data(), golden.labels("out_seg").data().repeat(2));
}

#[test]
fn blur() {
    for golden in goldens("blur") {
        let mut image = golden.image("image");
        let shape = image.shape();
        let sigmas = golden.per_axis(&golden.numbers("sigmas"), 0.0);
        gaussian_blur(image.channel_mut(0), shape, sigmas, &mut Vec::new());
        golden.assert_image(&image);
    }
}

#[test]
fn low_resolution() {
    for golden in goldens("lowres") {
        let mut image = golden.image("image");
        let shape = image.shape();
        let mut scale = [golden.number("scale"); 3];
        if golden.is_flat("image") || !golden.parameters["ignore_axes"].is_null() {
            scale[0] = 1.0;
        }
        for c in 0..image.channels() {
            simulate_low_resolution(image.channel_mut(c), shape, scale, &mut Vec::new());
        }
        golden.assert_image(&image);
    }
}

#[test]
fn gamma() {
    for golden in goldens("gamma") {
        let direction = match golden.parameters["invert"].as_i64() {
            Some(0) => GammaDirection::Plain,
            _ => GammaDirection::Inverted,
        };
        let mut image = golden.image("image");
        for c in 0..image.channels() {
            let gamma = golden.number("gamma") as f32;
            correct_gamma(image.channel_mut(c), gamma, direction, GammaStatistics::Restored);
        }
        golden.assert_image(&image);
    }
}

#[test]
fn contrast() {
    for golden in goldens("contrast") {
        let mut image = golden.image("image");
        for c in 0..image.channels() {
            scale_contrast(image.channel_mut(c), golden.number("factor") as f32);
        }
        golden.assert_image(&image);
    }
}

#[test]
fn deep_supervision() {
    for golden in goldens("dsseg") {
        let labels = golden.labels("seg");
        for (k, scale) in golden.parameters["scales"].as_array().unwrap().iter().enumerate() {
            let scale: Vec<f64> = scale.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let scale = golden.per_axis(&scale, 1.0);
            let (found, shape) = downsample_labels(labels.channel(0), labels.shape(), scale);
            let expected = golden.labels(&format!("out{k}"));
            assert_eq!((shape, &found[..]), (expected.shape(), expected.data()), "{} {k}", golden.name);
        }
    }
}

#[test]
fn binary_operators() {
    for golden in goldens("operator") {
        let mut one_hot = golden.image("image");
        let operator = match golden.parameters["operator"].as_str().unwrap() {
            "dilate" => BinaryOperator::Dilate,
            "erode" => BinaryOperator::Erode,
            "close" => BinaryOperator::Close,
            _ => BinaryOperator::Open,
        };
        let element = StructuringElement::new(golden.number("radius"), golden.is_flat("image"));
        let (voxels, shape) = (one_hot.voxels(), one_hot.shape());
        apply_operator(one_hot.data_mut(), voxels, shape, 1, operator, &element);
        assert_eq!(one_hot.data(), golden.image("out_image").data(), "{}", golden.name);
    }
}

#[test]
fn initial_patch_sizes() {
    let mut cases = read_json(&own_folder().join("index.json"))["initial_patch"].as_array().unwrap().clone();
    if let Some(path) = shared_path("reference/unit/sliding_initialpatch_blosc.json") {
        cases.extend(read_json(&path)["initial_patch"].as_array().unwrap().iter().cloned());
    }
    let sizes = |v: &Value| -> Vec<usize> {
        v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    for case in cases {
        let angle = case["deg"].as_f64().unwrap().to_radians();
        let found = match *sizes(&case["patch"]) {
            [z, y, x] => initial_volume([z, y, x], angle, 0.85).to_vec(),
            [y, x] => initial_slice([y, x], angle, 0.85).to_vec(),
            _ => panic!("{case}"),
        };
        assert_eq!(found, sizes(&case["out"]), "{case}");
    }
}

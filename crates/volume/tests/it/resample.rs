//! Resampling against nnU-Net's results: own small goldens and, where it exists, the folder of references.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nnunet_testkit::{npy::read_npy, shared::shared_path};
use nnunet_volume::resample::{Interpolation, Method, SlabResampler, resample_data, resample_labels};
use nnunet_volume::{ChannelVolume, SpacingMm, Volume};
use proptest::prelude::*;
use serde_json::Value;

/// Of the largest magnitude of the reference's result.
const TOLERANCE: f64 = 5e-7;

struct Case {
    name: String,
    is_seg: bool,
    new_shape: [usize; 3],
    spacings: [[f64; 3]; 2],
    method: Method,
    input: ChannelVolume<f32>,
    output: Vec<f64>,
    half: bool,
}

fn three(value: &Value) -> [f64; 3] {
    std::array::from_fn(|i| value[i].as_f64().unwrap())
}

fn cases(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let case = |entry: &Value| {
        let name = entry["name"].as_str().unwrap().to_owned();
        let input = read_npy(folder.join(format!("{name}_in.npy")));
        let output = read_npy(folder.join(format!("{name}_out.npy")));
        let order = |key: &str| Interpolation::of_order(entry[key].as_u64().unwrap()).unwrap();
        let mode = |key: &str, default: &str| match entry[key].as_str().unwrap_or(default) {
            "linear" => Interpolation::TorchLinear,
            "nearest" => Interpolation::TorchNearest,
            "nearest-exact" => Interpolation::TorchNearestExact,
            other => panic!("{other}"),
        };
        let ways = if entry["order"].is_null() {
            Method {
                together: Interpolation::TorchLinear,
                majority_only: entry["memefficient_seg_resampling"].as_bool().unwrap_or(false),
                anisotropy_threshold: entry["separate_z_anisotropy_threshold"].as_f64().unwrap_or(3.0),
                ..Method::new(mode("mode", "linear"), mode("aniso_axis_mode", "nearest-exact"))
            }
        } else {
            Method::new(order("order"), order("order_z"))
        };
        let shape = [input.shape[1], input.shape[2], input.shape[3]];
        Case {
            is_seg: entry["is_seg"].as_bool().unwrap(),
            new_shape: three(&entry["new_shape"]).map(|v| v as usize),
            spacings: [three(&entry["current_spacing"]), three(&entry["new_spacing"])],
            method: Method { force_separate: entry["force_separate_z"].as_bool(), ..ways },
            input: ChannelVolume::new(input.shape[0], shape, input.f32()).unwrap(),
            half: output.dtype == "f2",
            output: output.data,
            name,
        }
    };
    index.as_array().unwrap().iter().map(case).collect()
}

fn cubic() -> Method {
    Method::new(Interpolation::Cubic, Interpolation::Nearest)
}

fn linear() -> Method {
    Method::new(Interpolation::Linear, Interpolation::Nearest)
}

/// The cases by PyTorch.
fn torch_cases() -> Vec<Case> {
    cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resample_torch"))
}

fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resample");
    std::iter::once(own).chain(shared_path("reference/preprocess_public/resample")).collect()
}

fn close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance * scale, "{name}: differs by {worst:e} of {scale}");
}

#[test]
fn data_is_resampled_as_by_the_reference() {
    for case in folders().iter().flat_map(|f| cases(f)).chain(torch_cases()).filter(|c| !c.is_seg) {
        let [current, new] = case.spacings.map(SpacingMm::new);
        let got = resample_data(case.input, case.new_shape, current, new, &case.method).unwrap();
        // Results stored as f16 have eleven bits.
        let tolerance = if case.half { 1.0 / 2048.0 } else { TOLERANCE };
        close(&case.name, got.data(), &case.output, tolerance);
    }
}

#[test]
fn labels_are_resampled_voxel_for_voxel_as_by_the_reference() {
    for case in folders().iter().flat_map(|f| cases(f)).chain(torch_cases()).filter(|c| c.is_seg) {
        let [current, new] = case.spacings.map(SpacingMm::new);
        let labels = case.input.data().iter().map(|&v| v as i8).collect();
        let labels = Volume::new(case.input.shape(), labels).unwrap();
        let got = resample_labels(labels, case.new_shape, current, new, &case.method).unwrap();
        let want: Vec<i8> = case.output.iter().map(|&v| v as i8).collect();
        let wrong = got.data().iter().zip(&want).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{}: voxels of {}", case.name, want.len());
    }
}

#[test]
fn slabs_are_slices_of_the_whole() {
    for case in folders().iter().flat_map(|f| cases(f)).chain(torch_cases()).filter(|c| {
        !c.is_seg && [c.method.together, c.method.across].iter().all(|way| *way != Interpolation::Cubic)
    }) {
        let [current, new] = case.spacings.map(SpacingMm::new);
        let shape = case.input.shape();
        let slab = SlabResampler::new(shape, case.new_shape, current, new, &case.method).unwrap();
        let size = case.new_shape[1] * case.new_shape[2];
        let mut out = ChannelVolume::filled(1, [1, 1, 1], 0.0);
        let tolerance = if case.half { 1.0 / 2048.0 } else { TOLERANCE };
        for start in (0..case.new_shape[0]).step_by(3) {
            let range = start..(start + 3).min(case.new_shape[0]);
            slab.resample(&case.input, range.clone(), &mut out).unwrap();
            for c in 0..case.input.channels() {
                let at = (c * case.new_shape[0] + start) * size;
                close(&case.name, out.channel(c), &case.output[at..at + range.len() * size], tolerance);
            }
        }
    }
}

#[test]
fn impossible_requests_are_refused() {
    let (cubic, linear) = (cubic(), linear());
    let data = ChannelVolume::filled(1, [2, 2, 2], 1.0);
    let one = SpacingMm::UNIT;
    let error = resample_data(data, [4, 0, 2], one, one, &cubic).unwrap_err();
    assert!(error.to_string().contains("the output would be empty"), "{error}");
    for huge in [[usize::MAX / 2, 2, 2], [1 << 18, 1 << 18, 1 << 18]] {
        let data = ChannelVolume::filled(1, [2, 2, 2], 1.0);
        let error = resample_data(data, huge, one, one, &cubic).unwrap_err();
        assert!(error.to_string().contains("check the spacings"), "{error}");
        let labels = Volume::filled([2, 2, 2], 1i8);
        let error = resample_labels(labels, huge, one, one, &linear).unwrap_err();
        assert!(error.to_string().contains("check the spacings"), "{error}");
    }
    let labels = Volume::filled([2, 2, 2], 1i8);
    let error = resample_labels(labels, [4, 4, 4], one, one, &cubic).unwrap_err();
    assert!(error.to_string().contains("order 0 or 1"), "{error}");
    let error = SlabResampler::new([2; 3], [4; 3], one, one, &cubic).unwrap_err();
    assert!(error.to_string().contains("order 0 or 1"), "{error}");
    let slab = SlabResampler::new([2; 3], [4; 3], one, one, &linear).unwrap();
    let input = ChannelVolume::filled(1, [2; 3], 0.0f32);
    let mut out = input.clone();
    let error = slab.resample(&input, 3..5, &mut out).unwrap_err();
    assert!(error.to_string().contains("output slices 3..5 of 4"), "{error}");
}

fn shape() -> impl Strategy<Value = [usize; 3]> {
    [1usize..8, 1usize..8, 1usize..20]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn constants_stay_constant_and_the_range_is_kept(from in shape(), to in shape(), value in -100f32..100.0, separate in any::<Option<bool>>()) {
        let spacing = SpacingMm::new([4.0, 1.0, 1.0]);
        let constant = ChannelVolume::filled(1, from, value);
        let got = resample_data(constant, to, spacing, spacing, &Method { force_separate: separate, ..cubic() }).unwrap();
        prop_assert!(got.data().iter().all(|v| *v == value));
        let n = from.iter().product::<usize>();
        let wild: Vec<f32> = (0..n).map(|i| if i * 7919 % 5 < 2 { -1.0 } else { 1.0 }).collect();
        let wild = ChannelVolume::new(1, from, wild).unwrap();
        let got = resample_data(wild, to, spacing, spacing, &Method { force_separate: separate, ..cubic() }).unwrap();
        prop_assert!(got.data().iter().all(|v| (-1.0..=1.0).contains(v)));
    }

    #[test]
    fn labels_never_invent_a_label(from in shape(), to in shape(), separate in any::<Option<bool>>()) {
        let n = from.iter().product::<usize>();
        let data: Vec<i16> = (0..n).map(|i| [-1, 3, 7, 300][i * 7919 % 13 % 4]).collect();
        let labels = Volume::new(from, data.clone()).unwrap();
        let spacing = SpacingMm::new([4.0, 1.0, 1.0]);
        let got = resample_labels(labels, to, spacing, spacing, &Method { force_separate: separate, ..linear() }).unwrap();
        prop_assert!(got.data().iter().all(|v| data.contains(v)));
    }
}

#[test]
fn channels_without_a_number_stay_without_one() {
    // A range of nothing bounds nothing; the other channel is not affected.
    let method = Method::new(Interpolation::of_order(3).unwrap(), Interpolation::of_order(1).unwrap());
    let shape = [4, 6, 5];
    let voxels: usize = shape.iter().product();
    for (value, spacing) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
        .into_iter()
        .flat_map(|value| [[1.0; 3], [5.0, 1.0, 1.0]].map(|spacing| (value, SpacingMm::new(spacing))))
    {
        let mut data = vec![value; 2 * voxels];
        data[voxels..].iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32);
        let finite = ChannelVolume::new(1, shape, data[voxels..].to_vec()).unwrap();
        let data = ChannelVolume::new(2, shape, data).unwrap();
        for new_shape in [[8, 9, 7], [4, 9, 7], [7, 6, 5]] {
            let run = |data| resample_data(data, new_shape, spacing, spacing, &method).unwrap();
            let got = run(data.clone());
            assert!(got.channel(0).iter().all(|v| !v.is_finite()), "{value} {new_shape:?}");
            assert_eq!(got.channel(1), run(finite.clone()).channel(0));
        }
    }
}

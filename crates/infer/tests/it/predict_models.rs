//! Real checkpoints of the reference: our predictions against its segmentations and probabilities.
//!
//! Probabilities agree within 1e-3. The reference adds logits up in f16, and so do we; where f32 results
//! of the network that differ in their last bit fall on both sides of a rounding border, single values
//! differ by a step of f16, which is coarse near the corners of an image, where all weights are tiny: at
//! most one value in 10,000, by at most 0.02. With `Precision::Bf16` every layer rounds: what that moves is bounded apart.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, Silent};
use nnunet_data::Parts;
use nnunet_data::preprocess::Properties;
use nnunet_dataset::cases::prediction_cases;
use nnunet_exec_cpu::{CpuBackend, CpuLevel, CpuOptions, Precision};
use nnunet_image_io::nifti;
use nnunet_infer::predict::{Model, PredictRequest, Predictor, WindowOptions, predict_cases};
use nnunet_recipe::recipes;
use nnunet_testkit::npy::read_npz;
use nnunet_testkit::shared::shared_path;

/// Largest difference of a probability, but for single roundings.
const TOLERANCE: f64 = 1e-3;
/// Share of values that a rounding may move further.
const ROUNDED: f64 = 1e-4;
/// How far.
const STEP: f64 = 0.02;
/// Share of voxels whose labels must be equal.
const EQUAL_LABELS: f64 = 0.9999;

/// What a precision may change: most of any probability, the share of probabilities that change by over [`TOLERANCE`], and the least
/// share of equal labels.
fn limits(precision: Precision) -> [f64; 3] {
    match precision {
        // Measured for plain3d: up to 0.12, 0.54, and down to 0.9947. PyTorch's bf16 autocast does the same to it, up to 0.12, 0.60, and
        // down to 0.9938: products of bf16 are to be no worse.
        Precision::Bf16 if CpuLevel::detect() == CpuLevel::Avx512Bf16 => [0.25, 0.6, 0.993],
        // Measured with products of f32: up to 0.12, 0.40, and down to 0.9966.
        Precision::Bf16 => [0.25, 0.5, 0.995],
        _ => [STEP, ROUNDED, EQUAL_LABELS],
    }
}

fn check(name: &str, precision: Precision) {
    check_with(name, precision, None);
}

fn check_with(name: &str, precision: Precision, previous_stage: Option<&str>) {
    let Some(root) = shared_path(&format!("reference/models/{name}")) else { return };
    for (expected, mirroring) in [("pred_notta", false), ("pred_tta", true)] {
        let folder = tempfile::tempdir().unwrap();
        let model =
            Model::load(&root.join("model"), &[], "checkpoint_final.pth", &Parts::default(), &recipes())
                .unwrap();
        let mut cases = prediction_cases(&root.join("input"), &model.spec.dataset).unwrap();
        let ending = model.spec.file_ending().to_owned();
        cases.retain(|case| root.join(expected).join(format!("{}{ending}", case.identifier)).exists());
        assert!(!cases.is_empty());
        let options = WindowOptions { step_fraction: 0.5, mirroring };
        let cpu = CpuBackend::new(CpuOptions { threads: 2, precision, ..CpuOptions::default() });
        let mut predictor = Predictor::new(model.spec, model.weights, &cpu, options).unwrap();
        let request = PredictRequest {
            previous_stage: previous_stage.map(|folder| root.join(folder)),
            save_probabilities: true,
            preprocessing_threads: 2,
            export_threads: 2,
            ..PredictRequest::new(&root.join("input"), folder.path())
        };
        let made =
            predict_cases(&mut predictor, &cases, &request, Ctx::new(&Silent, &Cancel::new())).unwrap();
        assert_eq!(made.made, cases.len());
        for case in &cases {
            compare(&root.join(expected), folder.path(), &case.identifier, &ending, limits(precision));
        }
        for file in ["dataset.json", "plans.json", "predict_from_raw_data_args.json"] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
    }
}

fn compare(expected: &Path, found: &Path, case: &str, ending: &str, limits: [f64; 3]) {
    let [most, changed, equal_labels] = limits;
    let read = |folder: &Path| read_npz(folder.join(format!("{case}.npz")))["probabilities"].clone();
    let (ours, theirs) = (read(found), read(expected));
    assert_eq!(ours.shape, theirs.shape, "{case}");
    let differences: Vec<f64> = ours.data.iter().zip(&theirs.data).map(|(a, b)| (a - b).abs()).collect();
    let worst = differences.iter().copied().fold(0.0, f64::max);
    let beyond = differences.iter().filter(|d| **d > TOLERANCE).count() as f64 / differences.len() as f64;
    assert!(
        worst <= most && beyond <= changed,
        "{case}: probabilities differ by {worst}, {beyond} by over 1e-3"
    );
    let properties = |folder: &Path| Properties::read(&folder.join(format!("{case}.pkl"))).unwrap();
    assert_eq!(properties(found), properties(expected), "{case}");
    let labels = |folder: &Path| nifti::read(folder.join(format!("{case}{ending}"))).unwrap();
    let (ours, theirs) = (labels(found), labels(expected));
    assert_eq!(ours.geometry, theirs.geometry, "{case}");
    let equal = ours.volume.data().iter().zip(theirs.volume.data()).filter(|(a, b)| a == b).count();
    let share = equal as f64 / ours.volume.data().len() as f64;
    assert!(share >= equal_labels, "{case}: {share} of the labels are equal");
}

#[test]
fn plain_3d_with_two_folds() {
    check("plain3d", Precision::Fast);
    check("plain3d", Precision::Exact);
}

#[test]
fn plain_3d_with_activations_of_bf16() {
    check("plain3d", Precision::Bf16);
}

#[test]
fn plain_2d() {
    check("plain2d", Precision::Fast);
}

#[test]
fn residual_encoder() {
    check("resenc3d", Precision::Fast);
}

#[test]
fn regions() {
    check("regions3d", Precision::Fast);
}

#[test]
fn ignore_label() {
    check("ignore3d", Precision::Fast);
}

#[test]
fn low_resolution_of_a_cascade() {
    check("cascade_lowres", Precision::Fast);
}

#[test]
fn full_resolution_of_a_cascade() {
    check_with("cascade_fullres", Precision::Fast, Some("prev_stage"));
}

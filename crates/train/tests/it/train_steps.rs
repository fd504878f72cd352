//! Whole steps of learning against the reference's: losses, gradient norms and the weights after one
//! and three steps, for six kinds of training.
//!
//! Losses agree to 1e-5, gradient norms to 1e-3, weights to a small part of the largest change; see
//! [`tolerances`].

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use nnunet_data::plan::Plans;
use nnunet_dataset::{DatasetJson, LabelManager};
use nnunet_exec_cpu::{CpuBackend, CpuOptions, Precision};
use nnunet_graph::architectures::architectures;
use nnunet_graph::backend::{Backend, StepSpec};
use nnunet_graph::loss::{LabelBatch, LossSpec, RegionBatch, ScaleLossSpec, Target, Targets};
use nnunet_graph::optimiser::{OptimiserSpec, SgdOptions};
use nnunet_graph::{Parameters, Tensor};
use nnunet_infer::model::network_graph;
use nnunet_testkit::npy::{Array, read_npy, read_npz};
use nnunet_testkit::shared::shared_path;
use nnunet_train::batch::Batch;

/// Weights to compare after a step (from 0).
const CHECKPOINTS: [(usize, &str); 2] = [(0, "weights1.npz"), (2, "weights3.npz")];

/// Error that a loss, a gradient norm (both relative) and a weight may have, the latter as a part of the largest change of any weight.
struct Tolerances {
    loss: f64,
    norm: f64,
    weight: f64,
}

/// Each way of computing rounds a layer's sums differently; where one lies at the kink of a leaky ReLU its gradient jumps. With bf16
/// activations, rounded to 2^-9, many do: measured are up to 2.3e-4, 2.7e-3 and 1.8e-2.
fn tolerances(precision: Precision) -> Tolerances {
    match precision {
        Precision::Exact => Tolerances { loss: 1e-5, norm: 1e-3, weight: 1e-3 },
        Precision::Fast | Precision::Relaxed => Tolerances { loss: 1e-5, norm: 1e-3, weight: 5e-3 },
        Precision::Bf16 => Tolerances { loss: 5e-4, norm: 5e-3, weight: 3e-2 },
    }
}

fn five(shape: &[usize]) -> [usize; 5] {
    match *shape {
        [n, c, y, x] => [n, c, 1, y, x],
        [n, c, z, y, x] => [n, c, z, y, x],
        _ => panic!("{shape:?}"),
    }
}

fn target(array: &Array, regions: bool) -> Target {
    let [n, c, z, y, x] = five(&array.shape);
    if regions {
        Target::Regions(RegionBatch {
            shape: [n, c, z, y, x],
            data: array.data.iter().map(|v| *v != 0.0).collect(),
        })
    } else {
        Target::Labels(LabelBatch {
            shape: [n, z, y, x],
            data: array.data.iter().map(|v| *v as i16).collect(),
        })
    }
}

fn weights(name: &str, file: &str, graph: &nnunet_graph::Graph) -> Parameters {
    let path = shared_path(&format!("reference/trainstep_public/{name}/{file}")).unwrap();
    let arrays = read_npz(path);
    let mut parameters = Parameters::zeros(graph);
    for spec in graph.parameters() {
        let array = arrays.get(&spec.name).unwrap_or_else(|| panic!("{} in {file}", spec.name));
        parameters.set(&spec.name, &array.shape, &array.f32()).unwrap();
    }
    parameters
}

fn check(name: &str) {
    check_precision(name, Precision::Exact);
    check_precision(name, Precision::Fast);
    check_precision(name, Precision::Bf16);
}

fn check_precision(name: &str, precision: Precision) {
    let Some(root) = shared_path(&format!("reference/trainstep_public/{name}")) else { return };
    let info: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.join("info.json")).unwrap()).unwrap();
    let dataset = DatasetJson::load(&root.join("dataset.json")).unwrap();
    let labels = LabelManager::new(&dataset).unwrap();
    let plans = Plans::read(root.join("plans.json")).unwrap();
    let configuration = plans.configuration(info["configuration"].as_str().unwrap()).unwrap();
    let graph = network_graph(&configuration, &dataset, &labels, true, &architectures()).unwrap();
    let batch_dice = info["batch_dice"].as_bool().unwrap();
    let outputs = graph.outputs().len();
    let loss = if labels.has_regions() {
        let has_ignore = labels.ignore_label().is_some();
        ScaleLossSpec::dice_and_binary_cross_entropy(batch_dice, has_ignore)
    } else {
        let ignore_label = labels.ignore_label().map(|l| l as i16);
        ScaleLossSpec::dice_and_cross_entropy(batch_dice, ignore_label)
    };
    let before = weights(name, "weights0.npz", &graph);
    let cpu = CpuOptions { threads: 2, precision, ..CpuOptions::default() };
    let options = SgdOptions { momentum: 0.99, weight_decay: 3e-5, nesterov: true };
    let step = StepSpec {
        loss: LossSpec::deep_supervision(loss, outputs),
        optimiser: OptimiserSpec::Sgd(options),
        gradient_norm_limit: 12.0,
    };
    let mut session = CpuBackend::new(cpu).training(&graph, before.clone(), &step).unwrap();
    let data = read_npy(root.join("data.npy"));
    let scales = (0..outputs)
        .map(|i| target(&read_npy(root.join(format!("target{i}.npy"))), labels.has_regions()))
        .collect();
    let batch = Batch {
        image: Tensor { shape: five(&data.shape), data: data.f32() },
        targets: Targets::new(scales),
        cases: vec![name.to_owned()],
        starts: Vec::new(),
    };
    let rate = info["lr"].as_f64().unwrap();
    let tolerances = tolerances(precision);
    for (i, step) in info["steps"].as_array().unwrap().iter().enumerate() {
        let found = session.step(batch.view(), rate.into()).unwrap();
        let (loss, norm) = (step["loss"].as_f64().unwrap(), step["grad_norm_before_clip"].as_f64().unwrap());
        assert!(
            (found.loss - loss).abs() < tolerances.loss * loss.abs().max(1.0),
            "{name} step {i}: {} not {loss}",
            found.loss
        );
        assert!(
            (found.gradient_norm / norm - 1.0).abs() < tolerances.norm,
            "{name} step {i}: gradient norm {} not {norm}",
            found.gradient_norm
        );
        if let Some((_, file)) = CHECKPOINTS.iter().find(|(after, _)| *after == i) {
            let expected = weights(name, file, &graph);
            let found = session.export().unwrap().parameters;
            compare(name, &before, &found, &expected, tolerances.weight);
        }
    }
}

/// The change of each parameter is right to a small part of the largest change of any.
fn compare(name: &str, before: &Parameters, found: &Parameters, expected: &Parameters, part: f64) {
    let change = |p: &Parameters| -> f64 {
        p.iter()
            .zip(before.iter())
            .flat_map(|((_, a), (_, b))| a.value().iter().zip(b.value()))
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max)
    };
    let largest = change(expected);
    assert!(largest > 0.0);
    for ((key, found), (_, expected)) in found.iter().zip(expected.iter()) {
        for (a, b) in found.value().iter().zip(expected.value()) {
            let error = f64::from((a - b).abs());
            assert!(error <= part * largest, "{name} {key}: {a} instead of {b}, largest change {largest}");
        }
    }
}

#[test]
fn plain_2d() {
    check("plain2d");
}

#[test]
fn plain_3d() {
    check("plain3d");
}

#[test]
fn residual_encoder() {
    check("resenc3d");
}

#[test]
fn regions() {
    check("regions3d");
}

#[test]
fn ignore_label() {
    check("ignore3d");
}

#[test]
fn low_resolution_without_batch_dice() {
    check("lowres_nobatchdice");
}

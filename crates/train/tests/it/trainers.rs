//! Every trainer of nnU-Net 2.8.1 but those of Primus against the reference's: what it decides, and its first two steps from
//! the same weights on the same batch. Written by tests/golden/trainers/make.py.
//!
//! Losses agree to 1e-5 relative, gradient norms to 1e-4 relative, parameters after the steps to 1e-4.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nnunet_augment::ConfigurationFacts;
use nnunet_base::parts::Choice;
use nnunet_data::plan::Plans;
use nnunet_dataset::{DatasetJson, LabelManager};
use nnunet_exec_cpu::{CpuBackend, CpuOptions, Precision};
use nnunet_exec_torch::{Arithmetic, Places, TorchBackend, TorchDevice, TorchOptions};
use nnunet_graph::architectures::architectures;
use nnunet_graph::backend::{Backend, StepSpec};
use nnunet_graph::loss::{LabelBatch, LossFacts, Target, Targets};
use nnunet_graph::{Graph, Parameters, Tensor};
use nnunet_infer::model::{network_graph, with_network};
use nnunet_recipe::{Recipe, recipes};
use nnunet_testkit::npy::{Array, read_npz};
use nnunet_testkit::skip::skip;
use nnunet_train::Parts;
use nnunet_train::batch::Batch;
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trainers").join(name)
}

fn trainers() -> BTreeMap<String, Value> {
    serde_json::from_slice(&std::fs::read(golden("trainers.json")).unwrap()).unwrap()
}

/// The network that a recipe makes of the golden plans.
fn network(recipe: &Recipe) -> Graph {
    let dataset = DatasetJson::load(&golden("dataset.json")).unwrap();
    let labels = LabelManager::new(&dataset).unwrap();
    let configuration = Plans::read(golden("plans.json")).unwrap().configuration("3d_fullres").unwrap();
    let configuration = with_network(configuration, &recipe.network).unwrap();
    network_graph(&configuration, &dataset, &labels, recipe.deep_supervision, &architectures()).unwrap()
}

fn five(shape: &[usize]) -> [usize; 5] {
    <[usize; 5]>::try_from(shape).unwrap()
}

fn batch(arrays: &BTreeMap<String, Array>, outputs: usize) -> Batch {
    let scale = |i: usize| {
        let array = &arrays[&format!("target{i}")];
        let [n, _, z, y, x] = five(&array.shape);
        Target::Labels(LabelBatch {
            shape: [n, z, y, x],
            data: array.data.iter().map(|v| *v as i16).collect(),
        })
    };
    let data = &arrays["data"];
    Batch {
        image: Tensor { shape: five(&data.shape), data: data.f32() },
        targets: Targets::new((0..outputs).map(scale).collect()),
        cases: vec!["golden".to_owned(); 2],
        starts: Vec::new(),
    }
}

fn parameters(graph: &Graph, array: impl Fn(&str) -> Array) -> Parameters {
    let mut parameters = Parameters::zeros(graph);
    for spec in graph.parameters() {
        let array = array(&spec.name);
        parameters.set(&spec.name, &array.shape, &array.f32()).unwrap();
    }
    parameters
}

#[test]
fn two_steps_are_those_of_the_reference() {
    let options = CpuOptions { threads: 1, precision: Precision::Exact, ..CpuOptions::default() };
    check_steps(&CpuBackend::new(options));
}

/// The same through libtorch, where there is one (`NNUNET_LIBTORCH`, or that of `python3`).
#[test]
fn two_steps_through_libtorch_are_those_of_the_reference() {
    let places = Places {
        asked_for: std::env::var_os("NNUNET_LIBTORCH").map(PathBuf::from),
        python: Some("python3".into()),
        ..Places::default()
    };
    if let Err(error) = places.find() {
        return skip(&format!("{error} (NNUNET_LIBTORCH, or `pip install torch`)"));
    }
    let options = TorchOptions { device: TorchDevice::Cpu, places, arithmetic: Arithmetic::F32, threads: 1 };
    check_steps(&TorchBackend::open(&options).unwrap());
}

fn check_steps(backend: &dyn Backend) {
    let arrays: BTreeMap<String, Array> = read_npz(golden("weights.npz")).into_iter().collect();
    let steps: BTreeMap<String, Array> = read_npz(golden("steps.npz")).into_iter().collect();
    let parts = Parts::default();
    for (name, expected) in trainers() {
        let recipe = Recipe::by_name(&name).unwrap();
        let graph = network(&recipe);
        let outputs = graph.outputs().len();
        assert_eq!(outputs as u64, expected["outputs"].as_u64().unwrap(), "{name}");
        let facts = LossFacts { regions: false, ignore_label: None, batch_dice: true, classes: 3, outputs };
        let step = StepSpec {
            loss: parts.loss(&recipe, &facts).unwrap(),
            optimiser: parts.optimiser(&recipe).unwrap(),
            gradient_norm_limit: recipe.gradient_norm_limit,
        };
        let before = parameters(&graph, |name| arrays[name].clone());
        let mut session = backend.training(&graph, before, &step).unwrap();
        let batch = batch(&arrays, outputs);
        let rate = parts.schedule(&recipe).unwrap().rate(0);
        for i in 0..2 {
            let found = session.step(batch.view(), rate.into()).unwrap();
            let (loss, norm) =
                (expected["losses"][i].as_f64().unwrap(), expected["gradient_norms"][i].as_f64().unwrap());
            assert!(
                (found.loss / loss - 1.0).abs() < 1e-5,
                "{name} step {i}: loss {} not {loss}",
                found.loss
            );
            assert!(
                (found.gradient_norm / norm - 1.0).abs() < 1e-4,
                "{name} step {i}: gradient norm {} not {norm}",
                found.gradient_norm
            );
        }
        let digest = expected["step"].as_str().unwrap();
        let expected = parameters(&graph, |name| steps[&format!("{digest}/{name}")].clone());
        let found = session.export().unwrap().parameters;
        for ((key, found), (_, expected)) in found.iter().zip(expected.iter()) {
            for (a, b) in found.value().iter().zip(expected.value()) {
                assert!((a - b).abs() < 1e-4, "{name} {key}: {a} instead of {b}");
            }
        }
    }
}

#[test]
fn every_trainer_decides_what_the_references_does() {
    let golden = trainers();
    let parts = Parts::default();
    let facts = ConfigurationFacts { patch_size: vec![16; 3], ..ConfigurationFacts::default() };
    let known = recipes();
    for (name, expected) in &golden {
        let recipe = known.get(name).unwrap();
        assert_eq!(&recipe.python_class, name);
        let counts = [
            (recipe.epochs, "epochs"),
            (recipe.iterations_per_epoch, "iterations"),
            (recipe.validation_iterations, "validation_iterations"),
            (recipe.save_every, "save_every"),
        ];
        for (found, key) in counts {
            assert_eq!(found as u64, expected[key].as_u64().unwrap(), "{name}: {key}");
        }
        let policy = parts.augmentation(recipe, &facts).unwrap();
        let axes: Option<Vec<usize>> = serde_json::from_value(expected["mirroring_axes"].clone()).unwrap();
        assert_eq!(policy.mirroring_axes, axes, "{name}");
        let crop: Vec<usize> = serde_json::from_value(expected["crop"].clone()).unwrap();
        assert_eq!(policy.geometry.initial_patch.to_vec(), crop, "{name}");
        let schedule = parts.schedule(recipe).unwrap();
        for (epoch, rate) in expected["rates"].as_object().unwrap() {
            let (found, rate) = (schedule.rate(epoch.parse().unwrap()), rate.as_f64().unwrap());
            assert!((found / rate - 1.0).abs() < 1e-9, "{name}, epoch {epoch}: {found} not {rate}");
        }
        let kind = if expected["probabilistic"] == true { "probabilistic" } else { "last_of_batch" };
        assert_eq!(recipe.sampling.kind, kind, "{name}");
        // One of them takes the share that the rounded 0.33 comes to; see the sampling's own test.
        if recipe.sampling != Choice::new("probabilistic").with("as_last_of_batch", true) {
            assert_eq!(recipe.sampling.options["foreground"], expected["foreground"], "{name}");
        }
    }
    let others: Vec<&str> = known.names().filter(|name| !golden.contains_key(*name)).collect();
    assert!(others.is_empty(), "the reference has no {others:?}");
}

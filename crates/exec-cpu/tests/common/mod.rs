//! Goldens shared by the tests of this crate.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::collections::BTreeMap;
use std::path::Path;

use nnunet_graph::{Graph, Parameters, Tensor, build};
use nnunet_testkit::npy::{Array, read_npy, read_npz};
use nnunet_testkit::shared::shared_path;
use serde_json::{Value, json};

/// The small networks of tests/golden/networks.
pub const CASES: [&str; 16] = [
    "plain3d",
    "plain3d_anisotropic",
    "plain3d_relu_no_norm",
    "plain2d",
    "plain2d_not_affine",
    "residual3d",
    "residual2d_stem",
    "residual3d_bottleneck",
    "plain3d_batch",
    "residual2d_batch",
    "plain3d_batch_untracked",
    "plain3d_group",
    "plain2d_gelu",
    "residual3d_gelu",
    "plain3d_nonlin_first",
    "plain2d_gelu_first",
];

/// Those with a dropout, which are run but not trained.
pub const DROPOUT_CASES: [&str; 2] = ["plain3d_dropout", "residual3d_dropout_bottleneck"];

/// A small network of the reference with its numbers.
pub struct Case {
    pub description: Value,
    pub arrays: BTreeMap<String, Array>,
}

pub fn case(name: &str) -> Case {
    let folder = golden("networks");
    let description = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    Case {
        description: serde_json::from_str(&description).unwrap(),
        arrays: read_npz(folder.join(format!("{name}.npz"))),
    }
}

/// A folder of goldens: in the repository, or in `NNUNET_GOLDENS` where the program was carried elsewhere.
pub fn golden(folder: &str) -> std::path::PathBuf {
    let carried = std::env::var_os("NNUNET_GOLDENS").map(std::path::PathBuf::from);
    carried
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../exec-cpu/tests/golden"))
        .join(folder)
}

impl Case {
    pub fn graph(&self, deep_supervision: bool) -> Graph {
        let d = &self.description;
        build(
            d["network_class_name"].as_str().unwrap(),
            &d["arch_kwargs"],
            d["input_channels"].as_u64().unwrap() as usize,
            d["output_channels"].as_u64().unwrap() as usize,
            deep_supervision,
        )
        .unwrap()
    }

    pub fn parameters(&self) -> Parameters {
        let graph = self.graph(true);
        let mut all = parameters(&graph, "p:", &self.arrays);
        for spec in graph.buffers() {
            let array = &self.arrays[&format!("b:{}", spec.name)];
            all.set(&spec.name, &array.shape, &array.f32()).unwrap();
        }
        all
    }

    pub fn tensor(&self, name: &str) -> Tensor {
        tensor(&self.arrays[name])
    }
}

/// Parameters of `graph` from arrays under `prefix` and their canonical names.
pub fn parameters(graph: &Graph, prefix: &str, arrays: &BTreeMap<String, Array>) -> Parameters {
    let mut parameters = Parameters::zeros(graph);
    for spec in graph.parameters() {
        let array = &arrays[&format!("{prefix}{}", spec.name)];
        parameters.set(&spec.name, &array.shape, &array.f32()).unwrap();
    }
    parameters
}

/// An array of four (n, c, y, x) or five axes as a tensor.
pub fn tensor(array: &Array) -> Tensor {
    let s = &array.shape;
    let shape = match s.len() {
        4 => [s[0], s[1], 1, s[2], s[3]],
        _ => [s[0], s[1], s[2], s[3], s[4]],
    };
    Tensor { shape, data: array.f32() }
}

/// The largest difference of two slices, relative to the largest magnitude of `expected`.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()));
    let worst = found.iter().zip(expected).fold(0f64, |m, (&a, &b)| {
        let d = (f64::from(a) - f64::from(b)).abs();
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    });
    if worst == 0.0 { 0.0 } else { worst / scale }
}

/// `arch_kwargs` of a small PlainConvUNet.
pub fn plain_kwargs() -> Value {
    json!({
        "n_stages": 3, "features_per_stage": [4, 8, 12], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2], "conv_bias": true,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": true},
        "dropout_op": null, "dropout_op_kwargs": null,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": true}
    })
}

/// A training step of the reference (folder `trainstep_public`).
pub struct TrainStep {
    pub graph: Graph,
    pub weights: BTreeMap<String, Array>,
    pub data: Tensor,
    pub folder: std::path::PathBuf,
}

pub fn train_step(name: &str) -> Option<TrainStep> {
    let folder = shared_path(&format!("reference/trainstep_public/{name}"))?;
    let read = |file: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
    };
    let (plans, info) = (read("plans.json"), read("info.json"));
    let data = tensor(&read_npy(folder.join("data.npy")));
    let outputs = read_npy(folder.join("output0_ds0.npy")).shape[1];
    let architecture = &plans["configurations"][info["configuration"].as_str().unwrap()]["architecture"];
    let class = architecture["network_class_name"].as_str().unwrap();
    let graph = build(class, &architecture["arch_kwargs"], data.shape[1], outputs, true).unwrap();
    let weights = read_npz(folder.join("weights0.npz"));
    Some(TrainStep { graph, weights, data, folder })
}

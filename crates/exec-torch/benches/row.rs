//! A row of the CPU backend's networks.json through libtorch: forward passes, or whole training steps with nnU-Net's loss.
//!
//! `NAME [threads] [bf16] [f16] [cuda]` after `--`; prints `exec_torch_NAME seconds N`, the median of five repetitions after two.
//! `compare_row.py` measures it in turn with PyTorch's Python.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::Instant;

use nnunet_exec_torch::{Arithmetic, Places, TorchBackend, TorchDevice, TorchOptions};
use nnunet_graph::backend::{Backend, BatchRef, StepSpec};
use nnunet_graph::loss::{LabelBatch, LossSpec, ScaleLossSpec, Target, Targets};
use nnunet_graph::optimiser::{OptimiserSpec, SgdOptions};
use nnunet_graph::{Graph, Tensor, build, init, shapes};
use serde_json::{Value, json};

fn graph(row: &Value) -> Graph {
    let dimensions = &row["dimensions"];
    let mut kwargs = json!({
        "n_stages": row["features"].as_array().unwrap().len(), "features_per_stage": row["features"],
        "conv_op": format!("torch.nn.modules.conv.Conv{dimensions}d"),
        "kernel_sizes": row["kernels"], "strides": row["strides"], "conv_bias": true,
        "norm_op": format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d"),
        "norm_op_kwargs": {"eps": 1e-5, "affine": true}, "dropout_op": null, "dropout_op_kwargs": null,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": true}
    });
    match row.get("blocks") {
        Some(blocks) => {
            (kwargs["n_blocks_per_stage"], kwargs["n_conv_per_stage_decoder"]) = (blocks.clone(), json!(1))
        }
        None => (kwargs["n_conv_per_stage"], kwargs["n_conv_per_stage_decoder"]) = (json!(2), json!(2)),
    }
    let number = |key: &str| row[key].as_u64().unwrap() as usize;
    build(row["class"].as_str().unwrap(), &kwargs, number("channels"), number("classes"), true).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let rows: Value = serde_json::from_str(include_str!("../../exec-cpu/benches/networks.json")).unwrap();
    let name =
        arguments.iter().find(|name| rows.get(name.as_str()).is_some()).map_or("train_step", String::as_str);
    let row = &rows[name];
    let threads = arguments.iter().find_map(|argument| argument.parse().ok());
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let arithmetic = match () {
        () if has("f16") => Arithmetic::F16,
        () if has("bf16") => Arithmetic::Bf16,
        () => Arithmetic::F32,
    };
    let places = Places {
        asked_for: std::env::var_os("NNUNET_LIBTORCH").map(Into::into),
        python: Some("python3".into()),
        ..Places::default()
    };
    let device = if has("cuda") { TorchDevice::Cuda(0) } else { TorchDevice::Cpu };
    let backend = TorchBackend::open(&TorchOptions { device, places, arithmetic, threads }).unwrap();
    let graph = graph(row);
    let shape: [usize; 5] = serde_json::from_value(row["shape"].clone()).unwrap();
    let mut image = Tensor::zeros(shape);
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) % 4096) as f32 / 2048.0 - 1.0;
    image.data.iter_mut().enumerate().for_each(|(i, v)| *v = value(i));
    let parameters = init::initialise(&graph, 1);
    let train = row["train"].as_bool().unwrap();
    let mut step: Box<dyn FnMut()> = if train {
        let outputs = graph.outputs().len();
        let inferred = shapes::infer(&graph, shape).unwrap();
        let scales = graph.outputs().iter().map(|output| {
            let [n, classes, z, y, x] = inferred[output.0];
            let data = (0..n * z * y * x).map(|i| (i / 97 % classes) as i16).collect();
            Target::Labels(LabelBatch { shape: [n, z, y, x], data })
        });
        let targets = Targets::new(scales.collect());
        let loss = LossSpec::deep_supervision(ScaleLossSpec::dice_and_cross_entropy(true, None), outputs);
        let optimiser = OptimiserSpec::Sgd(SgdOptions::default());
        let spec = StepSpec { loss, optimiser, gradient_norm_limit: 12.0 };
        let mut session = backend.training(&graph, parameters, &spec).unwrap();
        Box::new(move || {
            session.step(BatchRef { image: &image, targets: &targets }, 1e-6.into()).unwrap();
        })
    } else {
        let mut session = backend.inference(&graph, parameters).unwrap();
        let mut output = Tensor::zeros([0; 5]);
        Box::new(move || session.run_into(&image, &mut output).unwrap())
    };
    let mut times = Vec::new();
    for repetition in 0..7 {
        let start = Instant::now();
        step();
        if repetition >= 2 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    println!("exec_torch_{name} seconds {:.4}", times[times.len() / 2]);
}

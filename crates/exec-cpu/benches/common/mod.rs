//! Runs a row of networks.json, which the PyTorch side (torch_reference.py) reads too.
//!
//! Prints `NAME seconds N`, the median of the repetitions after one warm-up, then the arithmetic of convolutions by direct sums
//! as percent of the measured multiply-add peak (transforms need less, so it can exceed 100), and the peak memory of the process.
//! Arguments after `--`: a number sets the threads (default: all cores), `exact`, `fast`, `relaxed` or `bf16` the precision, `avx2` and so on the
//! level, `once` measures one repetition without warm-up, `steps` prints the time of each step of the network.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use nnunet_exec_cpu::{CpuExecutor, CpuOptions, Precision};
use nnunet_graph::optimiser::{Optimiser, Sgd, SgdOptions, clip_gradient_norm};
use nnunet_graph::{Tensor, build, init};
use nnunet_kernels::{Context, CpuLevel, peak};
use serde_json::{Value, json};

/// Timed repetitions after one warm-up; the median is printed.
const REPEATS: usize = 3;

struct Arguments {
    options: CpuOptions,
    once: bool,
    steps: bool,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments { options: CpuOptions::default(), once: false, steps: false };
    for argument in std::env::args().skip(1) {
        let options = &mut arguments.options;
        match argument.as_str() {
            "exact" => options.precision = Precision::Exact,
            "fast" => options.precision = Precision::Fast,
            "relaxed" => options.precision = Precision::Relaxed,
            "bf16" => options.precision = Precision::Bf16,
            "once" => arguments.once = true,
            "steps" => arguments.steps = true,
            other => match CpuLevel::parse(other) {
                Ok(level) => options.level = level,
                Err(_) => options.threads = other.parse().unwrap_or(options.threads),
            },
        }
    }
    arguments
}

fn network(row: &Value, options: CpuOptions) -> CpuExecutor {
    let dimensions = &row["dimensions"];
    let stages = row["features"].as_array().unwrap().len();
    let mut kwargs = json!({
        "n_stages": stages, "features_per_stage": row["features"],
        "conv_op": format!("torch.nn.modules.conv.Conv{dimensions}d"),
        "kernel_sizes": row["kernels"], "strides": row["strides"], "conv_bias": true,
        "norm_op": format!("torch.nn.modules.instancenorm.InstanceNorm{dimensions}d"),
        "norm_op_kwargs": {"eps": 1e-5, "affine": true}, "dropout_op": null, "dropout_op_kwargs": null,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": true}
    });
    match row.get("blocks") {
        Some(blocks) => {
            kwargs["n_blocks_per_stage"] = blocks.clone();
            kwargs["n_conv_per_stage_decoder"] = json!(1);
        }
        None => {
            kwargs["n_conv_per_stage"] = json!(2);
            kwargs["n_conv_per_stage_decoder"] = json!(2);
        }
    }
    let (channels, classes) = (row["channels"].as_u64().unwrap(), row["classes"].as_u64().unwrap());
    let class = row["class"].as_str().unwrap();
    let graph = build(class, &kwargs, channels as usize, classes as usize, true).unwrap();
    let parameters = init::initialise(&graph, 1);
    CpuExecutor::new(graph, parameters, options).unwrap()
}

/// A batch of reproducible values in -1..1.
fn batch(shape: [usize; 5]) -> Tensor {
    let mut x = Tensor::zeros(shape);
    x.data
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = (i.wrapping_mul(2_654_435_761) % 4096) as f32 / 2048.0 - 1.0);
    x
}

/// Median time of the repetitions.
fn median(once: bool, mut step: impl FnMut()) -> Duration {
    let repeats = if once { 1 } else { REPEATS };
    if !once {
        step();
    }
    let mut times: Vec<Duration> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[repeats / 2]
}

/// Highest resident memory of this process, where the system tells.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

fn print_steps(executor: &CpuExecutor) {
    for timing in executor.timings() {
        println!("{:9.2} ms  {}", timing.time.as_secs_f64() * 1e3, timing.name);
    }
}

/// Runs the row `name`.
pub fn run(name: &str) {
    let rows: Value = serde_json::from_str(include_str!("../networks.json")).unwrap();
    let row = &rows[name];
    let Arguments { options, once, steps } = arguments();
    let mut executor = network(row, options);
    let shape: Vec<usize> =
        row["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
    let x = batch(shape.try_into().unwrap());
    let train = row["train"].as_bool().unwrap();
    let seconds = if train {
        train_steps(&mut executor, &x, once, steps)
    } else {
        let mut y = Tensor::zeros([0; 5]);
        let time = median(once, || executor.run_into(&x, &mut y).unwrap());
        if steps {
            executor.record_timings(true);
            executor.run_into(&x, &mut y).unwrap();
            print_steps(&executor);
        }
        time.as_secs_f64()
    };
    println!("{name} seconds {seconds:.4}");
    if let Some(memory) = peak_memory() {
        println!("{name} peak_mib {memory:.0}");
    }
    // The gradients of data and weights are convolutions of the same size each.
    let passes = if train { 3.0 } else { 1.0 };
    let flops = passes * executor.forward_flops(x.shape, train).unwrap();
    let context = Context::new(executor.level(), executor.threads());
    let limit = peak::fma_flops(&context, 100);
    println!(
        "{name} {:.0} GFLOP by direct sums, {:.0} GFLOP/s, {:.0} % of the multiply-add peak of {:.0} GFLOP/s",
        flops / 1e9,
        flops / seconds / 1e9,
        100.0 * flops / seconds / limit,
        limit / 1e9
    );
}

/// Forward, backward with gradients of the outputs' size, clipping, SGD with nnU-Net's settings; the median time of all that.
fn train_steps(executor: &mut CpuExecutor, x: &Tensor, once: bool, steps: bool) -> f64 {
    let mut optimiser = Sgd::new(SgdOptions::default());
    let mut outputs = Vec::new();
    let mut gradients: Vec<Option<Tensor>> = Vec::new();
    let mut step = |executor: &mut CpuExecutor| {
        executor.forward_into(x, &mut outputs).unwrap();
        if gradients.is_empty() {
            gradients = outputs.iter().map(|o| Some(batch(o.shape))).collect();
        }
        executor.backward(&gradients).unwrap();
        let start = Instant::now();
        clip_gradient_norm(executor.parameters_mut(), 12.0);
        optimiser.step(executor.parameters_mut(), 1e-6);
        start.elapsed()
    };
    let time = median(once, || {
        step(executor);
    });
    if steps {
        executor.record_timings(true);
        let optimiser = step(executor);
        print_steps(executor);
        println!("{:9.2} ms  optimiser", optimiser.as_secs_f64() * 1e3);
    }
    time.as_secs_f64()
}

//! Networks and timing that the benches share. The PyTorch side is torch_reference.py.
//!
//! Arguments after `--`: a number sets the threads (default: all cores), `exact` or `fast` the precision, `steps`
//! prints the time of each step of the network.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use nnunet_network::optimiser::{Optimiser, Sgd, SgdOptions, clip_gradient_norm};
use nnunet_network::{CpuExecutor, CpuOptions, Executor, Precision, Tensor, Trainable, build, init};
use serde_json::json;

/// Timed repetitions after one warm-up; the median is printed.
const REPEATS: usize = 3;

struct Arguments {
    options: CpuOptions,
    steps: bool,
}

fn arguments() -> Arguments {
    let mut options = CpuOptions::default();
    let mut steps = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "exact" => options.precision = Precision::Exact,
            "fast" => options.precision = Precision::Fast,
            "steps" => steps = true,
            other => options.threads = other.parse().unwrap_or(options.threads),
        }
    }
    Arguments { options, steps }
}

/// The default 3D U-Net with these features.
fn executor(features: &[usize], classes: usize, options: CpuOptions) -> CpuExecutor {
    let stages = features.len();
    let mut strides = vec![2; stages];
    strides[0] = 1;
    let kwargs = json!({
        "n_stages": stages, "features_per_stage": features, "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": 3, "strides": strides, "n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2, "conv_bias": true,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": true},
        "dropout_op": null, "dropout_op_kwargs": null, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": true}
    });
    let graph = build("PlainConvUNet", &kwargs, 1, classes, true).unwrap();
    let parameters = init::initialise(&graph, 1);
    CpuExecutor::new(graph, parameters, options).unwrap()
}

fn batch(shape: [usize; 5]) -> Tensor {
    let mut x = Tensor::zeros(shape);
    x.data
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = (i.wrapping_mul(2_654_435_761) % 4096) as f32 / 2048.0 - 1.0);
    x
}

fn report(name: &str, mut once: impl FnMut() -> Duration) {
    once();
    let mut times: Vec<Duration> = (0..REPEATS).map(|_| once()).collect();
    times.sort();
    println!("{name} seconds {:.4}", times[REPEATS / 2].as_secs_f64());
}

fn print_steps(executor: &CpuExecutor) {
    for timing in executor.timings() {
        println!("{:9.2} ms  {}", timing.time.as_secs_f64() * 1e3, timing.name);
    }
}

pub fn forward(name: &str, features: &[usize], classes: usize, shape: [usize; 5]) {
    let Arguments { options, steps } = arguments();
    let mut executor = executor(features, classes, options);
    let x = batch(shape);
    let mut y = Tensor::zeros([0; 5]);
    report(name, || {
        let start = Instant::now();
        executor.run_into(&x, &mut y).unwrap();
        start.elapsed()
    });
    if steps {
        executor.record_timings(true);
        executor.run_into(&x, &mut y).unwrap();
        print_steps(&executor);
    }
}

/// Forward, backward with gradients of the outputs' size, clipping, SGD with nnU-Net's settings.
pub fn train(name: &str, features: &[usize], classes: usize, shape: [usize; 5]) {
    let Arguments { options, steps } = arguments();
    let mut executor = executor(features, classes, options);
    let mut optimiser = Sgd::new(SgdOptions::default());
    let x = batch(shape);
    let mut outputs = Vec::new();
    executor.forward_into(&x, &mut outputs).unwrap();
    let gradients: Vec<Option<Tensor>> = outputs.iter().map(|o| Some(batch(o.shape))).collect();
    let mut step = |executor: &mut CpuExecutor| {
        executor.forward_into(&x, &mut outputs).unwrap();
        executor.backward(&gradients).unwrap();
        let start = Instant::now();
        clip_gradient_norm(executor.parameters_mut(), 12.0);
        optimiser.step(executor.parameters_mut(), 1e-6);
        start.elapsed()
    };
    report(name, || {
        let start = Instant::now();
        step(&mut executor);
        start.elapsed()
    });
    if steps {
        executor.record_timings(true);
        let optimiser = step(&mut executor);
        print_steps(&executor);
        println!("{:9.2} ms  optimiser", optimiser.as_secs_f64() * 1e3);
    }
}

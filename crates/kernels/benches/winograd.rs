//! Prints a table: nominal GFLOP/s (those of a direct sum) of Winograd convolutions for the layers of real networks.
//!
//! `cargo bench -p nnunet-kernels --bench winograd -- [threads] [level] [part of a layer's name, with a '>' or '[']`. With one thread (the default) CPU time is
//! measured, which holds on a busy machine; with more, the best wall clock time of several runs. `pack` is the time of the weights'
//! transform in milliseconds.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use nnunet_kernels::conv::winograd::Variant;
use nnunet_kernels::conv::{
    Algorithm, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut, backward_data,
    backward_weights_with, forward,
};
use nnunet_kernels::layout::AlignedBuffer;
use nnunet_kernels::{Context, CpuLevel};

/// Batch, voxels, channels of the sources, output channels, kernel along z.
type Layer = (usize, [usize; 3], &'static [usize], usize, usize);

/// Training of Dataset004 (patch 40x56x40, batch 2), the default network at 128^3, anisotropic and 2-D layers.
const LAYERS: &[Layer] = &[
    (2, [40, 56, 40], &[32], 32, 3),
    (2, [40, 56, 40], &[32, 32], 32, 3),
    (2, [20, 28, 20], &[64], 64, 3),
    (2, [20, 28, 20], &[64, 64], 64, 3),
    (2, [10, 14, 10], &[128], 128, 3),
    (2, [10, 14, 10], &[128, 128], 128, 3),
    (2, [5, 7, 5], &[256], 256, 3),
    (1, [128, 128, 128], &[32], 32, 3),
    (1, [128, 128, 128], &[32, 32], 32, 3),
    (1, [64, 64, 64], &[64], 64, 3),
    (1, [64, 64, 64], &[64, 64], 64, 3),
    (1, [32, 32, 32], &[128], 128, 3),
    (1, [32, 32, 32], &[128, 128], 128, 3),
    (1, [16, 16, 16], &[256], 256, 3),
    (1, [16, 16, 16], &[256, 256], 256, 3),
    (1, [8, 8, 8], &[320], 320, 3),
    (1, [4, 4, 4], &[320], 320, 3),
    (1, [20, 80, 64], &[32], 32, 1),
    (12, [1, 64, 64], &[256], 256, 1),
    (12, [1, 256, 256], &[64], 64, 1),
];

/// CPU seconds of this thread, where the system tells: with one thread they are right on a busy machine too.
fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Mean CPU seconds with one thread, best wall clock seconds with more.
fn measure(ctx: &Context, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    run();
    if ctx.pool().threads() == 1 {
        let (begin, mut runs) = (cpu_seconds(start), 0.0);
        loop {
            run();
            runs += 1.0;
            let seconds = cpu_seconds(start) - begin;
            if seconds > 0.4 {
                return seconds / runs;
            }
        }
    }
    let (mut best, mut runs) = (f64::MAX, 0);
    while runs < 3 || start.elapsed() < Duration::from_millis(400) {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn random(len: usize, seed: &mut u64) -> AlignedBuffer {
    let mut data = AlignedBuffer::new(len);
    for value in data.iter_mut() {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *value = (*seed >> 40) as f32 / (1 << 23) as f32 - 1.0;
    }
    data
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let threads = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let filter = arguments
        .iter()
        .find(|argument| argument.contains('>') || argument.contains('['))
        .map_or("", |text| text);
    let level =
        arguments.iter().find_map(|argument| CpuLevel::parse(argument).ok()).unwrap_or(CpuLevel::detect());
    let ctx = Context::new(level, threads);
    println!(
        "{:?}, {} threads; GFLOP/s of forward, data gradient, weight gradient; pack in ms",
        ctx.level(),
        ctx.pool().threads()
    );
    for &(batch, input, channels, out, kernel_z) in LAYERS {
        let name = format!("{batch}x {channels:?}>{out} {input:?} k{kernel_z}33");
        if !name.contains(filter) {
            continue;
        }
        let shape = ConvShape::new(batch, input, channels, out, [kernel_z, 3, 3], [1, 1, 1]).unwrap();
        let mut seed = 1;
        let data: Vec<_> = (0..channels.len()).map(|i| random(shape.source(i).len(), &mut seed)).collect();
        let sources: Vec<_> = data.iter().map(|data| Source::raw(data)).collect();
        let natural = random(shape.weights_len(), &mut seed);
        let grad_output = random(shape.output().len(), &mut seed);
        let mut output = AlignedBuffer::new(shape.output().len());
        let mut gradients = data.clone();
        let vectors = shape.output().vector_len();
        let (mut mean, mut variance) = (vec![0.0; vectors], vec![0.0; vectors]);
        let giga = shape.flops() / 1e9;
        let mut line = format!("{name:42}");
        let algorithms = [
            ("direct", Algorithm::Direct),
            ("W1", Algorithm::Winograd(Variant::W1)),
            ("W2", Algorithm::Winograd(Variant::W2)),
            ("W2Z", Algorithm::Winograd(Variant::W2Z)),
            ("W4", Algorithm::Winograd(Variant::W4)),
        ];
        for (name, algorithm) in algorithms.into_iter().filter(|(_, algorithm)| algorithm.supports(&shape)) {
            let mut weights = ForwardWeights::with_algorithm(&shape, algorithm);
            let pack = measure(&ctx, || weights.pack(&ctx, &natural).unwrap());
            let seconds = measure(&ctx, || {
                let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
                forward(&ctx, &shape, &sources, &weights, None, &mut output, Some(statistics)).unwrap();
            });
            let mut weights = DataWeights::with_algorithm(&shape, algorithm);
            weights.pack(&ctx, &natural).unwrap();
            let seconds_data = measure(&ctx, || {
                let mut targets: Vec<_> =
                    gradients.iter_mut().map(|data| GradientTarget::overwrite(data)).collect();
                backward_data(&ctx, &shape, &grad_output, &weights, &mut targets).unwrap();
            });
            let mut gradient = natural.clone();
            let seconds_weights = measure(&ctx, || {
                backward_weights_with(&ctx, &shape, algorithm, &sources, &grad_output, &mut gradient, None)
                    .unwrap();
            });
            line += &format!(
                " | {name} {:4.0} {:4.0} {:4.0} {:5.2}",
                giga / seconds,
                giga / seconds_data,
                giga / seconds_weights,
                pack * 1e3
            );
        }
        println!("{line}");
    }
}

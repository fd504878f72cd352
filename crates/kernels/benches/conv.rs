//! Convolution kernels in GFLOP/s and percent of the measured multiply-add peak of the machine.
//!
//! `cargo bench -p nnunet-kernels --bench conv -- [words] [--level L] [--threads N] [--seconds S] [--bf16]`; a row is measured if its name
//! contains one of the words. Taps in the padding count as work although the kernels skip many of them, as is usual, so small images
//! can exceed 100 %. With `--bf16` sources and weights are rounded to bf16, but for the weight gradient; the peak stays that of f32.
//! The best of many repetitions counts; with one thread, CPU time is measured: the machine may be shared.

// A bench reports on the terminal, and a failing one must stop.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

mod common;

use common::{best, values};
use nnunet_kernels::conv::{
    Affine, Algorithm, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut,
    backward_data, backward_weights, forward,
};
use nnunet_kernels::{Context, CpuLevel, Values, peak};

/// Name, batch, input, source channels, output channels, kernel, stride.
type Row = (&'static str, usize, [usize; 3], &'static [usize], usize, [usize; 3], [usize; 3]);

const ROWS: &[Row] = &[
    ("hippocampus 32>32 40x56x40", 2, [40, 56, 40], &[32], 32, [3; 3], [1; 3]),
    ("hippocampus 32+32>32 40x56x40", 2, [40, 56, 40], &[32, 32], 32, [3; 3], [1; 3]),
    ("hippocampus 32>64 40x56x40 s2", 2, [40, 56, 40], &[32], 64, [3; 3], [2; 3]),
    ("hippocampus 64>64 20x28x20", 2, [20, 28, 20], &[64], 64, [3; 3], [1; 3]),
    ("hippocampus 64+64>64 20x28x20", 2, [20, 28, 20], &[64, 64], 64, [3; 3], [1; 3]),
    ("hippocampus 64>128 20x28x20 s2", 2, [20, 28, 20], &[64], 128, [3; 3], [2; 3]),
    ("hippocampus 128>128 10x14x10", 2, [10, 14, 10], &[128], 128, [3; 3], [1; 3]),
    ("hippocampus 128+128>128 10x14x10", 2, [10, 14, 10], &[128, 128], 128, [3; 3], [1; 3]),
    ("hippocampus 128>256 10x14x10 s2", 2, [10, 14, 10], &[128], 256, [3; 3], [2; 3]),
    ("hippocampus 256>256 5x7x5", 2, [5, 7, 5], &[256], 256, [3; 3], [1; 3]),
    ("default 32>32 128^3", 1, [128; 3], &[32], 32, [3; 3], [1; 3]),
    ("default 64>64 64^3", 1, [64; 3], &[64], 64, [3; 3], [1; 3]),
    ("default 128>128 32^3", 1, [32; 3], &[128], 128, [3; 3], [1; 3]),
    ("default 256>256 16^3", 1, [16; 3], &[256], 256, [3; 3], [1; 3]),
    ("default 320>320 8^3", 1, [8; 3], &[320], 320, [3; 3], [1; 3]),
    ("default 320>320 4^3", 1, [4; 3], &[320], 320, [3; 3], [1; 3]),
    ("default 64>128 64^3 s2", 1, [64; 3], &[64], 128, [3; 3], [2; 3]),
    ("default 256>320 16^3 s2", 1, [16; 3], &[256], 320, [3; 3], [2; 3]),
    ("flat 32>32 512x512 1x3x3", 1, [1, 512, 512], &[32], 32, [1, 3, 3], [1; 3]),
    ("anisotropic 64>64 20x80x64 1x3x3", 1, [20, 80, 64], &[64], 64, [1, 3, 3], [1; 3]),
    ("pointwise 64>64 32^3 1x1x1", 1, [32; 3], &[64], 64, [1; 3], [1; 3]),
    ("odd 17>33 20x28x20 3x3x3", 1, [20, 28, 20], &[17], 33, [3; 3], [1; 3]),
    ("large kernel 32>32 32^3 5x5x5", 1, [32; 3], &[32], 32, [5; 3], [1; 3]),
];

/// Options of the command line.
struct Options {
    words: Vec<String>,
    level: CpuLevel,
    threads: usize,
    seconds: f64,
    algorithm: Algorithm,
}

fn options() -> Options {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        words: Vec::new(),
        level: CpuLevel::detect(),
        threads,
        seconds: 0.5,
        algorithm: Algorithm::Direct,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--level" => options.level = CpuLevel::parse(&arguments.next().expect("--level LEVEL")).unwrap(),
            "--threads" => options.threads = arguments.next().expect("--threads N").parse().unwrap(),
            "--seconds" => options.seconds = arguments.next().expect("--seconds S").parse().unwrap(),
            "--bf16" => options.algorithm = Algorithm::DirectBf16,
            _ => options.words.push(argument),
        }
    }
    options
}

fn main() {
    let options = options();
    let ctx = Context::new(options.level, options.threads);
    let peak = peak::fma_flops(&ctx, 300);
    println!(
        "level {}, {} threads, peak {:.1} GFLOP/s (multiply-add, measured)",
        ctx.level().name(),
        ctx.pool().threads(),
        peak / 1e9
    );
    println!(
        "{:36} {:>16} {:>16} {:>16} {:>16}",
        "GFLOP/s (percent of peak)", "forward", "with norm, stats", "data gradient", "weight gradient"
    );
    for &(name, batch, input, sources, out, kernel, stride) in ROWS {
        if !options.words.is_empty() && !options.words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let shape = ConvShape::new(batch, input, sources, out, kernel, stride).unwrap();
        let data: Vec<_> = (0..sources.len()).map(|index| values(shape.source(index).len())).collect();
        let vectors: Vec<_> =
            (0..sources.len()).map(|index| values(shape.source(index).vector_len())).collect();
        let raw: Vec<_> = data.iter().map(|data| Source::raw(data)).collect();
        let normalised: Vec<_> = data
            .iter()
            .zip(&vectors)
            .map(|(data, vector)| Source {
                data: Values::F32(data),
                affine: Some(Affine { scale: vector, shift: vector, negative_slope: 0.01 }),
            })
            .collect();
        let (weights, bias) = (values(shape.weights_len()), values(out));
        let mut packed = ForwardWeights::with_algorithm(&shape, options.algorithm);
        packed.pack(&ctx, &weights).unwrap();
        let mut packed_data = DataWeights::with_algorithm(&shape, options.algorithm);
        packed_data.pack(&ctx, &weights).unwrap();
        let mut output = values(shape.output().len());
        let vector = shape.output().vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
        let plain = best(options.threads, options.seconds, || {
            forward(&ctx, &shape, &raw, &packed, Some(&bias), &mut output, None).unwrap();
        });
        let fused = best(options.threads, options.seconds, || {
            let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
            forward(&ctx, &shape, &normalised, &packed, Some(&bias), &mut output, Some(statistics)).unwrap();
        });
        let mut gradients = data.clone();
        let data_gradient = best(options.threads, options.seconds, || {
            let mut targets: Vec<_> =
                gradients.iter_mut().map(|data| GradientTarget::overwrite(data)).collect();
            backward_data(&ctx, &shape, &output, &packed_data, &mut targets).unwrap();
        });
        let (mut grad_weights, mut grad_bias) = (values(weights.len()), values(out));
        let weight_gradient = best(options.threads, options.seconds, || {
            backward_weights(&ctx, &shape, &normalised, &output, &mut grad_weights, Some(&mut grad_bias))
                .unwrap();
        });
        let cell = |seconds: f64| {
            let flops = shape.flops() / seconds;
            format!("{:.1} ({:.0} %)", flops / 1e9, 100.0 * flops / peak)
        };
        println!(
            "{name:36} {:>16} {:>16} {:>16} {:>16}",
            cell(plain),
            cell(fused),
            cell(data_gradient),
            cell(weight_gradient)
        );
    }
}

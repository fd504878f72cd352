//! First layer, transposed convolution, head and norm: milliseconds, and GFLOP/s or GB/s where one of them is the limit.
//!
//! `cargo bench -p nnunet-kernels --bench layers -- [--threads N]`; sizes are those of the default network's uppermost stages at a patch of
//! 40x56x40, batch 2, and at 128^3, batch 1. The best of many repetitions counts; with one thread, CPU
//! time is measured.

// A bench reports on the terminal, and a failing one must stop.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::values;
use nnunet_kernels::conv::winograd::Variant;
use nnunet_kernels::conv::{
    self, Affine, Algorithm, ConvShape, ForwardWeights, GradientTarget, Source, StatisticsMut,
};
use nnunet_kernels::head::{self, HeadShape};
use nnunet_kernels::layout::{BlockedShape, to_blocked};
use nnunet_kernels::norm::{self, NormBackward, NormGradients, NormOver};
use nnunet_kernels::transposed::{self, TransposedShape, TransposedWeights};
use nnunet_kernels::{Context, CpuLevel, Values, activation, first_layer, peak};

struct Report {
    peak: f64,
}

impl Report {
    fn flops(&self, name: &str, seconds: f64, flops: f64) {
        let rate = flops / seconds;
        println!(
            "{name:52} {:8.2} ms {:7.1} GFLOP/s ({:.0} %)",
            seconds * 1e3,
            rate / 1e9,
            100.0 * rate / self.peak
        );
    }

    fn bytes(&self, name: &str, seconds: f64, passes: usize, values: usize) {
        let rate = (passes * values * 4) as f64 / seconds;
        println!("{name:52} {:8.2} ms {:7.1} GB/s", seconds * 1e3, rate / 1e9);
    }
}

fn main() {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let arguments: Vec<_> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--threads");
    let threads = given.map_or_else(all, |at| arguments[at + 1].parse().unwrap());
    let ctx = Context::new(CpuLevel::detect(), threads);
    let report = Report { peak: peak::fma_flops(&ctx, 300) };
    println!("level {}, {threads} threads, peak {:.1} GFLOP/s", ctx.level().name(), report.peak / 1e9);
    for (batch, spatial) in [(2, [40, 56, 40]), (1, [128; 3])] {
        let at = |what: &str| format!("{what}, {batch} x {spatial:?}");
        let upper = BlockedShape { batch, channels: 32, spatial };
        let (tensor, mut other) = (values(upper.len()), values(upper.len()));
        let vector = upper.vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![1.0; vector]);
        let (scale, shift) = (vec![1.0; vector], vec![0.1; vector]);
        let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope: 0.01 });
        let source = Source { data: Values::F32(&tensor), affine };

        first_layers(&ctx, &report, threads, batch, spatial);

        let shape = TransposedShape::new(batch, spatial.map(|size| size / 2), 64, 32, [2; 3]).unwrap();
        let mut packed = TransposedWeights::new(&shape);
        packed.pack(&ctx, &values(shape.weights_len())).unwrap();
        let mut lower = values(shape.source().len());
        let seconds = common::best(threads, 0.2, || {
            transposed::forward(&ctx, &shape, &Source::raw(&lower), &packed, None, &mut other).unwrap();
        });
        report.flops(&at("transposed 64>32, forward"), seconds, shape.flops());
        let seconds = common::best(threads, 0.2, || {
            let mut target = GradientTarget::overwrite(&mut lower);
            transposed::backward_data(&ctx, &shape, &tensor, &packed, &mut target).unwrap();
        });
        report.flops(&at("transposed 64>32, data gradient"), seconds, shape.flops());
        let mut grad_weights = values(shape.weights_len());
        let seconds = common::best(threads, 0.2, || {
            let source = Source::raw(&lower);
            transposed::backward_weights(&ctx, &shape, &source, &tensor, &mut grad_weights, None).unwrap();
        });
        report.flops(&at("transposed 64>32, weight gradient"), seconds, shape.flops());

        let shape = HeadShape::new(upper, 3).unwrap();
        let (weights, mut logits) = (values(shape.weights_len()), values(shape.output_len()));
        let seconds = common::best(threads, 0.2, || {
            head::forward(&ctx, &shape, &source, &weights, None, &mut logits).unwrap()
        });
        report.bytes(&at("head 32>3, forward"), seconds, 1, upper.len() + logits.len());
        let seconds = common::best(threads, 0.2, || {
            let mut target = GradientTarget::overwrite(&mut other);
            head::backward_data(&ctx, &shape, &logits, &weights, &mut target).unwrap();
        });
        report.bytes(&at("head 32>3, data gradient"), seconds, 1, upper.len() + logits.len());
        let mut grad_weights = values(shape.weights_len());
        let seconds = common::best(threads, 0.2, || {
            head::backward_weights(&ctx, &shape, &source, &logits, &mut grad_weights, None).unwrap();
        });
        report.bytes(&at("head 32>3, weight gradient"), seconds, 1, upper.len() + logits.len());

        let seconds = common::best(threads, 0.2, || {
            let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
            norm::statistics(&ctx, &upper, &tensor, statistics).unwrap();
        });
        report.bytes(&at("norm statistics"), seconds, 1, upper.len());
        let mut gradients = [vec![0.0; 32], vec![0.0; 32]];
        let seconds = common::best(threads, 0.2, || {
            let [gamma, beta] = &mut gradients;
            let backward = NormBackward {
                over: NormOver::Voxels,
                raw: Values::F32(&tensor),
                scale: &scale,
                shift: &shift,
                mean: &mean,
                variance: &variance,
                gamma: None,
                eps: 1e-5,
                negative_slope: 0.01,
            };
            let parameters = NormGradients { gamma: Some(gamma), beta: Some(beta) };
            norm::backward(&ctx, &upper, &backward, &mut other, parameters).unwrap();
        });
        report.bytes(&at("norm gradient"), seconds, 5, upper.len());
        let seconds =
            common::best(threads, 0.2, || activation::apply(&ctx, &upper, &source, &mut other).unwrap());
        report.bytes(&at("activation"), seconds, 2, upper.len());
        let seconds =
            common::best(threads, 0.2, || activation::accumulate(&ctx, &upper, &tensor, &mut other).unwrap());
        report.bytes(&at("sum of gradients"), seconds, 3, upper.len());
    }
}

/// Images of so many channels: modalities, and in a cascade the classes of its first stage.
const IMAGE_CHANNELS: [usize; 6] = [1, 2, 4, 5, 7, 8];

/// Each number of channels in plain layout, and converted to the blocked one with weights that are packed already.
fn first_layers(ctx: &Context, report: &Report, threads: usize, batch: usize, spatial: [usize; 3]) {
    for channels in IMAGE_CHANNELS {
        let name = |what: &str| format!("first layer {channels}>32, {what}, {batch} x {spatial:?}");
        let shape = ConvShape::new(batch, spatial, &[channels], 32, [3; 3], [1; 3]).unwrap();
        let (image, weights) = (values(shape.source(0).plain_len()), values(shape.weights_len()));
        let vector = shape.output().vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![1.0; vector]);
        let (mut output, mut grad_weights) = (values(shape.output().len()), values(shape.weights_len()));
        let seconds = common::best(threads, 0.2, || {
            let statistics = Some(StatisticsMut { mean: &mut mean, variance: &mut variance });
            first_layer::forward(ctx, &shape, &image, &weights, None, &mut output, statistics).unwrap();
        });
        report.flops(&name("statistics"), seconds, shape.flops());
        let gradient = values(shape.output().len());
        let seconds = common::best(threads, 0.2, || {
            first_layer::backward_weights(ctx, &shape, &image, &gradient, &mut grad_weights, None).unwrap();
        });
        report.flops(&name("weight gradient"), seconds, shape.flops());

        let mut blocked = values(shape.source(0).len());
        for algorithm in [Algorithm::Direct, Algorithm::Winograd(Variant::W2Z)] {
            let mut packed = ForwardWeights::with_algorithm(&shape, algorithm);
            packed.pack(ctx, &weights).unwrap();
            let seconds = common::best(threads, 0.2, || {
                to_blocked(ctx, &shape.source(0), &image, &mut *blocked).unwrap();
                let statistics = Some(StatisticsMut { mean: &mut mean, variance: &mut variance });
                let sources = [Source::raw(&blocked)];
                conv::forward(ctx, &shape, &sources, &packed, None, &mut output, statistics).unwrap();
            });
            report.flops(&name(&format!("blocked, {algorithm:?}")), seconds, shape.flops());
        }
    }
}

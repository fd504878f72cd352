//! Norm, activation, transposed convolution, head, first layer and pooling against the scalar kernels on random odd shapes, at every
//! CPU level, and the same to the bit whatever the thread count. Sources are f32 and bf16. Tolerance: 1e-5 of the magnitude of the sums.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/stored.rs"]
mod stored;
#[path = "common/vector_code.rs"]
mod vector_code;

use common::{Random, assert_close};
use nnunet_kernels::conv::{Affine, ConvShape, GradientTarget, Source, StatisticsMut};
use nnunet_kernels::head::{self, HeadShape};
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape, to_blocked};
use nnunet_kernels::norm::{self, NormBackward, NormGradients};
use nnunet_kernels::pooling::{self, PoolShape};
use nnunet_kernels::transposed::{self, TransposedShape, TransposedWeights};
use nnunet_kernels::{Context, CpuLevel, Values, ValuesMut, activation, first_layer, gelu, scalar};
use proptest::prelude::*;
use stored::{Stored, assert_rounded};

/// Runs `compute` at every level with several thread counts; all thread counts give the same bits, all levels what is expected.
fn check(expected: &[(&str, Vec<f32>, f32)], compute: impl Fn(&Context) -> Vec<Vec<f32>>) {
    for level in CpuLevel::available() {
        let found = compute(&Context::new(level, 2));
        for ((what, expected, magnitude), found) in expected.iter().zip(&found) {
            assert_close(&format!("{what} at {}", level.name()), found, expected, *magnitude);
        }
        for threads in [1, 3] {
            assert!(compute(&Context::new(level, threads)) == found, "another result with {threads} threads");
        }
    }
}

fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_usize), Just(16), Just(17), Just(33), 1_usize..50]
}

fn spatial() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        (1_usize..5, 1_usize..7, 1_usize..30).prop_map(|(z, y, x)| [z, y, x]),
        // More voxels than a task takes.
        Just([3, 41, 37]),
    ]
}

fn blocked_shape() -> impl Strategy<Value = BlockedShape> {
    (1_usize..4, channels(), spatial()).prop_map(|(batch, channels, spatial)| BlockedShape {
        batch,
        channels,
        spatial,
    })
}

/// A shape with what a norm takes its statistics over: any groups that divide the channels.
fn normalised_shape() -> impl Strategy<Value = (BlockedShape, norm::NormOver)> {
    (blocked_shape(), 0_usize..4, any::<prop::sample::Index>()).prop_map(|(shape, kind, index)| {
        let divisors: Vec<usize> =
            (1..=shape.channels).filter(|n| shape.channels.is_multiple_of(*n)).collect();
        let over = match kind {
            0 => norm::NormOver::Voxels,
            1 => norm::NormOver::Batch,
            _ => norm::NormOver::Groups(*index.get(&divisors)),
        };
        (shape, over)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn norms(
        (shape, over) in normalised_shape(), seed in 1_u64.., slope in prop_oneof![Just(0.0_f32), Just(0.01), Just(1.0)], as_bf16 in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 2);
        let stored = Stored::new(random.blocked(&ctx, &shape), as_bf16);
        let raw = stored.values();
        let gradient = random.blocked(&ctx, &shape);
        let (gamma, beta) = (random.values(shape.channels), random.values(shape.channels));
        let vector = shape.vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
        scalar::statistics_over(&shape, over, raw, StatisticsMut { mean: &mut mean, variance: &mut variance });
        let (mut scale, mut shift) = (vec![0.0; vector], vec![0.0; vector]);
        let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
        norm::scale_shift(&shape, &mean, &variance, g, b, 1e-5, &mut scale, &mut shift).unwrap();
        // Within rounding of zero the sign of the activation's input is not defined: with and without a fused multiply-add differ.
        let defined = raw.iter().enumerate().all(|(at, value)| {
            let vector = at / (shape.voxels() * 16) * 16 + at % 16;
            vector % shape.padded_channels() >= shape.channels || (value * scale[vector] + shift[vector]).abs() > 5e-7
        });
        prop_assume!(defined);
        let backward = NormBackward {
            over, raw: stored.data(), scale: &scale, shift: &shift, mean: &mean, variance: &variance, gamma: g, eps: 1e-5, negative_slope: slope,
        };
        let source = Source { data: stored.data(), affine: Some(Affine { scale: &scale, shift: &shift, negative_slope: slope }) };
        let run = |parameters: &dyn Fn(&mut [f32], NormGradients<'_>)| {
            let (mut grad, mut grad_gamma, mut grad_beta) = (gradient.to_vec(), vec![0.0; shape.channels], vec![0.0; shape.channels]);
            parameters(&mut grad, NormGradients { gamma: Some(&mut grad_gamma), beta: Some(&mut grad_beta) });
            (grad, grad_gamma, grad_beta)
        };
        let of_f32 = NormBackward { raw: Values::F32(raw), ..backward };
        let (grad, grad_gamma, grad_beta) = run(&|grad, out| scalar::norm_backward(&shape, &of_f32, grad, out));
        let as_f32 = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
        let mut applied = vec![0.0; shape.len()];
        for (at, value) in scalar::materialise(&shape, &Source { data: Values::F32(raw), ..source }).iter().enumerate() {
            let row = at / shape.voxels();
            applied[shape.index(row / shape.channels, row % shape.channels, at % shape.voxels())] = *value;
        }
        // One or a few voxels per channel have no or a tiny variance; their gradients are large and cancel.
        let largest = scale.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        let count = ((shape.voxels() * shape.batch) as f32).sqrt();
        let expected = [
            ("mean", as_f32(&mean), 1.0),
            ("variance", as_f32(&variance), 1.0),
            ("applied", applied, largest),
            ("gradient", grad, 4.0 * largest),
            ("gradient of gamma", grad_gamma, 4.0 * count),
            ("gradient of beta", grad_beta, count),
        ];
        check(&expected, |ctx| {
            let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
            norm::statistics(ctx, &shape, raw, StatisticsMut { mean: &mut mean, variance: &mut variance }).unwrap();
            norm::merge_statistics(&shape, over, StatisticsMut { mean: &mut mean, variance: &mut variance }).unwrap();
            let mut applied = vec![0.0; shape.len()];
            activation::apply(ctx, &shape, &source, &mut applied).unwrap();
            let mut rounded = vec![0; applied.len()];
            activation::apply(ctx, &shape, &source, ValuesMut::Bf16(&mut rounded)).unwrap();
            assert_rounded("applied", &rounded, &applied);
            let (grad, grad_gamma, grad_beta) =
                run(&|grad, out| norm::backward(ctx, &shape, &backward, grad, out).unwrap());
            vec![as_f32(&mean), as_f32(&variance), applied, grad, grad_gamma, grad_beta]
        });
    }

    #[test]
    fn gelu(
        shape in blocked_shape(), seed in 1_u64.., slope in prop_oneof![Just(1.0_f32), Just(0.01)], accumulate in any::<bool>(),
        as_bf16 in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let mut data = random.blocked(&ctx, &shape);
        // Far enough to reach the flat ends.
        data.iter_mut().for_each(|value| *value *= 7.0);
        let data = Stored::new(data, as_bf16);
        let [scale, shift] = random.affine(&shape);
        let affine = (seed % 2 == 0).then_some(Affine { scale: &scale, shift: &shift, negative_slope: slope });
        let source = Source { data: data.data(), affine };
        let of_f32 = Source { data: Values::F32(data.values()), ..source };
        let gradient = random.blocked(&ctx, &shape);
        let before = random.blocked(&ctx, &shape);
        let backward = |run: &dyn Fn(&mut GradientTarget<'_>)| {
            let mut grad_source = before.to_vec();
            run(&mut if accumulate {
                GradientTarget::accumulate(&mut grad_source)
            } else {
                GradientTarget::overwrite(&mut grad_source)
            });
            grad_source
        };
        let mut output = vec![0.0; shape.len()];
        scalar::gelu_forward(&shape, &of_f32, &mut output);
        let grad_source = backward(&|target| scalar::gelu_backward(&shape, &of_f32, &gradient, target));
        // Values up to 14; that of the fused multiply-add and of two roundings differ by an ulp of the terms.
        let expected = [("output", output, 1.0), ("gradient of the source", grad_source, 1.0)];
        check(&expected, |ctx| {
            let mut output = vec![f32::NAN; shape.len()];
            gelu::forward(ctx, &shape, &source, &mut output).unwrap();
            let mut rounded = vec![0; output.len()];
            gelu::forward(ctx, &shape, &source, ValuesMut::Bf16(&mut rounded)).unwrap();
            assert_rounded("output", &rounded, &output);
            let grad_source = backward(&|target| gelu::backward(ctx, &shape, &source, &gradient, target).unwrap());
            vec![output, grad_source]
        });
    }

    #[test]
    fn transposed_convolution(
        (batch, input, in_channels, out_channels) in (1_usize..3, (1_usize..4, 1_usize..5, 1_usize..9), channels(), channels()),
        kernel in (1_usize..4, 1_usize..5, 1_usize..4),
        as_bf16 in any::<bool>(),
        seed in 1_u64..,
    ) {
        let shape = TransposedShape::new(
            batch, input.into(), in_channels, out_channels, kernel.into(),
        ).unwrap();
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let data = Stored::new(random.blocked(&ctx, &shape.source()), as_bf16);
        let [scale, shift] = random.affine(&shape.source());
        let affine = (seed % 2 == 0).then_some(Affine { scale: &scale, shift: &shift, negative_slope: 0.01 });
        let source = Source { data: data.data(), affine };
        let of_f32 = Source { data: Values::F32(data.values()), ..source };
        let (weights, bias) = (random.values(shape.weights_len()), random.values(out_channels));
        let gradient = random.blocked(&ctx, &shape.output());
        let before = random.blocked(&ctx, &shape.source());
        let mut output = vec![0.0; shape.output().len()];
        scalar::transposed_forward(&shape, &of_f32, &weights, Some(&bias), &mut output);
        let mut grad_source = before.to_vec();
        scalar::transposed_backward_data(&shape, &gradient, &weights, &mut GradientTarget::accumulate(&mut grad_source));
        let (mut grad_weights, mut grad_bias) = (vec![0.0; weights.len()], vec![0.0; out_channels]);
        scalar::transposed_backward_weights(&shape, &of_f32, &gradient, &mut grad_weights);
        scalar::bias_gradient(&shape.output(), &gradient, &mut grad_bias);
        let positions = (shape.output().voxels() as f32 * batch as f32).sqrt();
        let expected = [
            ("output", output, (in_channels as f32).sqrt()),
            ("gradient of the source", grad_source, ((out_channels * shape.taps()) as f32).sqrt()),
            ("gradient of the weights", grad_weights, positions),
            ("gradient of the bias", grad_bias, positions),
        ];
        check(&expected, |ctx| {
            let mut packed = TransposedWeights::new(&shape);
            packed.pack(ctx, &weights).unwrap();
            let mut output = vec![f32::NAN; shape.output().len()];
            transposed::forward(ctx, &shape, &source, &packed, Some(&bias), &mut output).unwrap();
            let mut rounded = vec![0; output.len()];
            let target = ValuesMut::Bf16(&mut rounded);
            transposed::forward(ctx, &shape, &source, &packed, Some(&bias), target).unwrap();
            assert_rounded("output", &rounded, &output);
            let mut grad_source = before.to_vec();
            let mut target = GradientTarget::accumulate(&mut grad_source);
            transposed::backward_data(ctx, &shape, &gradient, &packed, &mut target).unwrap();
            let (mut grad_weights, mut grad_bias) = (vec![f32::NAN; weights.len()], vec![f32::NAN; out_channels]);
            let bias = Some(&mut grad_bias[..]);
            transposed::backward_weights(ctx, &shape, &source, &gradient, &mut grad_weights, bias).unwrap();
            vec![output, grad_source, grad_weights, grad_bias]
        });
    }

    #[test]
    fn segmentation_head(
        shape in blocked_shape(), out_channels in 1_usize..80, as_bf16 in any::<bool>(), seed in 1_u64..,
    ) {
        let shape = HeadShape::new(shape, out_channels).unwrap();
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let data = Stored::new(random.blocked(&ctx, &shape.source), as_bf16);
        let [scale, shift] = random.affine(&shape.source);
        let source = Source { data: data.data(), affine: Some(Affine { scale: &scale, shift: &shift, negative_slope: 0.01 }) };
        let of_f32 = Source { data: Values::F32(data.values()), ..source };
        let (weights, bias) = (random.values(shape.weights_len()), random.values(out_channels));
        let gradient = random.values(shape.output_len());
        let mut output = vec![0.0; shape.output_len()];
        scalar::head_forward(&shape, &of_f32, &weights, Some(&bias), &mut output);
        let mut grad_source = vec![0.0; shape.source.len()];
        scalar::head_backward_data(&shape, &gradient, &weights, &mut GradientTarget::overwrite(&mut grad_source));
        let (mut grad_weights, mut grad_bias) = (vec![0.0; weights.len()], vec![0.0; out_channels]);
        scalar::head_backward_weights(&shape, &of_f32, &gradient, &mut grad_weights, Some(&mut grad_bias));
        let positions = ((shape.source.voxels() * shape.source.batch) as f32).sqrt();
        let expected = [
            ("output", output, (shape.source.channels as f32).sqrt()),
            ("gradient of the source", grad_source, (out_channels as f32).sqrt()),
            ("gradient of the weights", grad_weights, positions),
            ("gradient of the bias", grad_bias, positions),
        ];
        check(&expected, |ctx| {
            let mut output = vec![f32::NAN; shape.output_len()];
            head::forward(ctx, &shape, &source, &weights, Some(&bias), &mut output).unwrap();
            let mut grad_source = vec![f32::NAN; shape.source.len()];
            let mut target = GradientTarget::overwrite(&mut grad_source);
            head::backward_data(ctx, &shape, &gradient, &weights, &mut target).unwrap();
            let (mut grad_weights, mut grad_bias) = (vec![f32::NAN; weights.len()], vec![f32::NAN; out_channels]);
            let bias = Some(&mut grad_bias[..]);
            head::backward_weights(ctx, &shape, &source, &gradient, &mut grad_weights, bias).unwrap();
            vec![output, grad_source, grad_weights, grad_bias]
        });
    }

    #[test]
    fn first_layers(
        (batch, input) in (1_usize..4, spatial()),
        (in_channels, out_channels) in (1_usize..=9, channels()),
        (kernel, stride) in ((1_usize..6, 1_usize..8, 1_usize..8), (1_usize..3, 1_usize..5, 1_usize..5)),
        usual in any::<bool>(),
        seed in 1_u64..,
    ) {
        let (kernel, stride) = if usual { ([3; 3], [1; 3]) } else { (kernel.into(), stride.into()) };
        let Ok(shape) = ConvShape::new(batch, input, &[in_channels], out_channels, kernel, stride) else {
            return Err(TestCaseError::reject("the kernel does not fit into the image"));
        };
        prop_assume!(shape.flops() < 2e7);
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let image = random.values(shape.source(0).plain_len());
        let (weights, bias) = (random.values(shape.weights_len()), random.values(out_channels));
        let gradient = random.blocked(&ctx, &shape.output());
        let mut output = vec![0.0; shape.output().len()];
        scalar::first_layer_forward(&shape, &image, &weights, Some(&bias), &mut output);
        let vector = shape.output().vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
        scalar::statistics(&shape.output(), &output, StatisticsMut { mean: &mut mean, variance: &mut variance });
        let (mut grad_weights, mut grad_bias) = (vec![0.0; weights.len()], vec![0.0; out_channels]);
        scalar::first_layer_backward_weights(&shape, &image, &gradient, &mut grad_weights);
        scalar::bias_gradient(&shape.output(), &gradient, &mut grad_bias);
        let terms = (shape.taps() * in_channels) as f32;
        let positions = ((shape.output().voxels() * batch) as f32).sqrt();
        let as_f32 = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
        let expected = [
            ("output", output, terms.sqrt()),
            ("mean", as_f32(&mean), terms.sqrt()),
            ("variance", as_f32(&variance), terms),
            ("gradient of the weights", grad_weights, positions),
            ("gradient of the bias", grad_bias, positions),
        ];
        check(&expected, |ctx| {
            let mut output = vec![f32::NAN; shape.output().len()];
            let (mut mean, mut variance) = (vec![f64::NAN; vector], vec![f64::NAN; vector]);
            let statistics = Some(StatisticsMut { mean: &mut mean, variance: &mut variance });
            first_layer::forward(ctx, &shape, &image, &weights, Some(&bias), &mut output, statistics).unwrap();
            let (mut rounded, mut same_mean, mut same_variance) =
                (vec![0; output.len()], vec![f64::NAN; vector], vec![f64::NAN; vector]);
            let statistics = Some(StatisticsMut { mean: &mut same_mean, variance: &mut same_variance });
            let target = ValuesMut::Bf16(&mut rounded);
            first_layer::forward(ctx, &shape, &image, &weights, Some(&bias), target, statistics).unwrap();
            assert_rounded("output", &rounded, &output);
            assert!(same_mean == mean && same_variance == variance, "statistics of what was not rounded");
            let (mut grad_weights, mut grad_bias) = (vec![f32::NAN; weights.len()], vec![f32::NAN; out_channels]);
            let bias = Some(&mut grad_bias[..]);
            first_layer::backward_weights(ctx, &shape, &image, &gradient, &mut grad_weights, bias).unwrap();
            vec![output, as_f32(&mean), as_f32(&variance), grad_weights, grad_bias]
        });
    }

    #[test]
    fn average_pooling(
        shape in blocked_shape(),
        window in (1_usize..4, 1_usize..4, 1_usize..4),
        accumulate in any::<bool>(),
        as_bf16 in any::<bool>(),
        seed in 1_u64..,
    ) {
        let window: [usize; 3] = window.into();
        let kernel = std::array::from_fn(|axis| window[axis].min(shape.spatial[axis]));
        let pool = PoolShape::new(shape, kernel).unwrap();
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let data = Stored::new(random.blocked(&ctx, &shape), as_bf16);
        let [scale, shift] = random.affine(&shape);
        let affine = (seed % 2 == 0).then_some(Affine { scale: &scale, shift: &shift, negative_slope: 0.01 });
        let source = Source { data: data.data(), affine };
        let of_f32 = Source { data: Values::F32(data.values()), ..source };
        let gradient = random.blocked(&ctx, &pool.output());
        let before = random.blocked(&ctx, &shape);
        let backward = |run: &dyn Fn(&mut GradientTarget<'_>)| {
            let mut grad_source = before.to_vec();
            run(&mut if accumulate {
                GradientTarget::accumulate(&mut grad_source)
            } else {
                GradientTarget::overwrite(&mut grad_source)
            });
            grad_source
        };
        let mut output = vec![0.0; pool.output().len()];
        scalar::average_pool_forward(&pool, &of_f32, &mut output);
        let grad_source = backward(&|target| scalar::average_pool_backward(&pool, &gradient, target));
        let expected = [("output", output, 1.0), ("gradient of the source", grad_source, 1.0)];
        check(&expected, |ctx| {
            let mut output = vec![f32::NAN; pool.output().len()];
            pooling::average_forward(ctx, &pool, &source, &mut output).unwrap();
            let mut rounded = vec![0; output.len()];
            pooling::average_forward(ctx, &pool, &source, ValuesMut::Bf16(&mut rounded)).unwrap();
            assert_rounded("output", &rounded, &output);
            let grad_source =
                backward(&|target| pooling::average_backward(ctx, &pool, &gradient, target).unwrap());
            vec![output, grad_source]
        });
    }

    #[test]
    fn residual_addition(
        shape in blocked_shape(), slope in prop_oneof![Just(1.0_f32), Just(0.01)], as_bf16 in any::<[bool; 2]>(), seed in 1_u64..,
    ) {
        let mut random = Random(seed);
        let ctx = Context::new(CpuLevel::detect(), 1);
        let data = as_bf16.map(|as_bf16| Stored::new(random.blocked(&ctx, &shape), as_bf16));
        let [scale, shift] = random.affine(&shape);
        let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope: 0.2 });
        let terms = [
            Source { data: data[0].data(), affine },
            Source { data: data[1].data(), affine: affine.filter(|_| seed % 2 == 0) },
        ];
        let plain = [0, 1].map(|i| {
            scalar::materialise(&shape, &Source { data: Values::F32(data[i].values()), ..terms[i] })
        });
        let sum: Vec<f32> = plain[0].iter().zip(&plain[1]).map(|(a, b)| a + b).collect();
        let activated: Vec<f32> = sum.iter().map(|x| if *x > 0.0 { *x } else { x * slope }).collect();
        let mut output = AlignedBuffer::new(shape.len());
        to_blocked(&ctx, &shape, &activated, &mut output).unwrap();
        let slopes = data[0].values().iter().map(|value| if *value > 0.0 { 1.0 } else { slope }).collect();
        check(&[("sum", output.to_vec(), 1.0), ("gradient of ones", slopes, 1.0)], |ctx| {
            let mut output = vec![f32::NAN; shape.len()];
            activation::add(ctx, &shape, &terms[0], &terms[1], slope, &mut output).unwrap();
            let mut rounded = vec![0; output.len()];
            let target = ValuesMut::Bf16(&mut rounded);
            let done = activation::add(ctx, &shape, &terms[0], &terms[1], slope, target);
            if as_bf16 == [true; 2] {
                done.unwrap();
                assert_rounded("sum", &rounded, &output);
            } else {
                assert!(done.unwrap_err().to_string().contains("type of a term"));
            }
            let mut gradient = vec![1.0; shape.len()];
            activation::leaky_relu_backward(ctx, &shape, data[0].data(), slope, &mut gradient).unwrap();
            vec![output, gradient]
        });
    }
}

#[test]
fn a_head_does_not_touch_what_it_accumulates_into_beyond_adding() {
    let source = BlockedShape { batch: 1, channels: 3, spatial: [1, 1, 2] };
    let shape = HeadShape::new(source, 2).unwrap();
    let ctx = Context::new(CpuLevel::detect(), 1);
    let mut target = AlignedBuffer::new(source.len());
    target.fill(1.0);
    let weights = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
    let mut accumulate = GradientTarget::accumulate(&mut target);
    head::backward_data(&ctx, &shape, &[1.0, 0.0, 0.0, 1.0], &weights, &mut accumulate).unwrap();
    assert_eq!(target[..3], [2.0, 3.0, 4.0]);
    assert_eq!(target[16..19], [11.0, 21.0, 31.0]);
    assert_eq!(target[3], 1.0);
}

#[test]
fn transposed_shapes_written_by_hand_are_errors_not_panics() {
    let ctx = Context::new(CpuLevel::detect(), 1);
    let good = TransposedShape::new(1, [2; 3], 3, 4, [2; 3]).unwrap();
    let (data, natural) = (vec![0.0; good.output().len()], vec![0.0; good.weights_len()]);
    let mut packed = TransposedWeights::new(&good);
    packed.pack(&ctx, &natural).unwrap();
    for bad in [
        TransposedShape { batch: 0, ..good.clone() },
        TransposedShape { batch: usize::MAX, ..good.clone() },
        TransposedShape { input: [2, 0, 2], ..good.clone() },
        TransposedShape { input: [2, usize::MAX, 2], ..good.clone() },
        TransposedShape { kernel: [2, 0, 2], ..good.clone() },
        TransposedShape { kernel: [2, 5, 2], ..good.clone() },
        TransposedShape { in_channels: 0, ..good.clone() },
        TransposedShape { out_channels: 0, ..good.clone() },
    ] {
        let source = Source::raw(&data[..good.source().len()]);
        let (mut output, mut grad_weights) = (data.clone(), natural.clone());
        transposed::forward(&ctx, &bad, &source, &packed, None, &mut output).unwrap_err();
        let mut target = GradientTarget::overwrite(&mut output);
        transposed::backward_data(&ctx, &bad, &data, &packed, &mut target).unwrap_err();
        transposed::backward_weights(&ctx, &bad, &source, &data, &mut grad_weights, None).unwrap_err();
    }
}

//! Infinities, NaN and denormal numbers pass through every layer as in PyTorch (goldens in `golden/non_finite`, made by the script beside
//! them), at every CPU level. Tolerance of finite values: 2e-5 of the largest. On random shapes, direct sums have the infinities and NaN
//! of the scalar version; Winograd convolutions hide none and spread them over their tiles only.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/golden.rs"]
mod golden;
#[path = "common/stored.rs"]
#[allow(dead_code)] // its sources are not needed here
mod stored;

use golden::{blocked, contexts, plain};
use nnunet_kernels::conv::winograd::Variant;
use nnunet_kernels::conv::{
    Affine, Algorithm, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut,
    backward_data, backward_weights_with, forward,
};
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape};
use nnunet_kernels::pooling::{PoolShape, average_forward};
use nnunet_kernels::transposed::{self, TransposedShape, TransposedWeights};
use nnunet_kernels::{Context, CpuLevel, Values, ValuesMut, activation, first_layer, norm, scalar};
use proptest::prelude::*;

fn load(name: &str) -> Vec<f32> {
    golden::load("non_finite", name)
}

/// The largest finite magnitude.
fn largest(values: &[f32]) -> f32 {
    values.iter().filter(|value| value.is_finite()).fold(0.0, |largest, value| largest.max(value.abs()))
}

/// What PyTorch has where it is finite, else what the scalar version has: PyTorch multiplies infinities in a gradient with the zeros
/// around the image.
fn of_voxels_in_the_image(golden: &[f32], scalar: &[f32]) -> Vec<f32> {
    golden
        .iter()
        .zip(scalar)
        .map(|(golden, scalar)| if golden.is_finite() { *golden } else { *scalar })
        .collect()
}

/// Equal, both NaN, or finite and within the tolerance.
fn is_same(found: f32, expected: f32, tolerance: f32) -> bool {
    found == expected || found.is_nan() && expected.is_nan() || (found - expected).abs() <= tolerance
}

fn assert_same(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = tolerance * largest(expected);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(is_same(*found, *expected, tolerance), "{what}[{at}]: {found}, expected {expected}");
    }
}

/// Where sums must not be finite, they are not; elsewhere they are the same or not finite either.
fn assert_not_hidden(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = tolerance * largest(expected);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let good = !found.is_finite() || is_same(*found, *expected, tolerance);
        assert!(good, "{what}[{at}]: {found}, expected {expected}");
    }
}

/// Scale 1 and shift 0 for the channels, 0 for padding.
fn identity(shape: &BlockedShape) -> [Vec<f32>; 2] {
    let scale = (0..shape.vector_len())
        .map(|at| f32::from(u8::from(at % shape.padded_channels() < shape.channels)))
        .collect();
    [scale, vec![0.0; shape.vector_len()]]
}

/// A convolution of one source.
struct Conv<'a> {
    ctx: &'a Context,
    shape: ConvShape,
    algorithm: Algorithm,
    weights: &'a [f32],
}

impl Conv<'_> {
    fn forward(&self, source: &Source<'_>, bias: Option<&[f32]>) -> Vec<f32> {
        let mut packed = ForwardWeights::with_algorithm(&self.shape, self.algorithm);
        packed.pack(self.ctx, self.weights).unwrap();
        let mut output = AlignedBuffer::new(self.shape.output().len());
        output.fill(0.5);
        let len = self.shape.output().vector_len();
        let (mut mean, mut variance) = (vec![0.0; len], vec![0.0; len]);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        forward(self.ctx, &self.shape, &[*source], &packed, bias, &mut output, Some(statistics)).unwrap();
        let mut rounded = vec![0; output.len()];
        let target = ValuesMut::Bf16(&mut rounded);
        forward(self.ctx, &self.shape, &[*source], &packed, bias, target, None).unwrap();
        stored::assert_rounded("output", &rounded, &output);
        plain(self.ctx, &self.shape.output(), &output)
    }

    fn backward_data(&self, gradient: &[f32]) -> Vec<f32> {
        let mut packed = DataWeights::with_algorithm(&self.shape, self.algorithm);
        packed.pack(self.ctx, self.weights).unwrap();
        let mut result = AlignedBuffer::new(self.shape.source(0).len());
        result.fill(0.5);
        let mut targets = [GradientTarget::overwrite(&mut result)];
        backward_data(self.ctx, &self.shape, gradient, &packed, &mut targets).unwrap();
        plain(self.ctx, &self.shape.source(0), &result)
    }

    fn backward_weights(&self, source: &Source<'_>, gradient: &[f32]) -> [Vec<f32>; 2] {
        let (mut weights, mut bias) = (vec![0.5; self.weights.len()], vec![0.5; self.shape.out_channels]);
        let (ctx, shape) = (self.ctx, &self.shape);
        let bias_out = Some(&mut bias[..]);
        backward_weights_with(ctx, shape, self.algorithm, &[*source], gradient, &mut weights, bias_out)
            .unwrap();
        [weights, bias]
    }
}

fn check_conv(name: &str, shape: &ConvShape, negative_slope: f32) {
    let load = |part: &str| load(&format!("{name}_{part}"));
    let (x, weights, bias) = (load("x"), load("weights"), load("bias"));
    for ctx in contexts() {
        let [scale, shift] = identity(&shape.source(0));
        let data = blocked(&ctx, &shape.source(0), &x);
        let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope });
        let source = Source { data: Values::F32(&data), affine };
        let gradient = blocked(&ctx, &shape.output(), &load("grad"));
        let conv = Conv { ctx: &ctx, shape: shape.clone(), algorithm: Algorithm::Direct, weights: &weights };
        let what = |part: &str| format!("{part} of {name} at {}", ctx.level().name());
        assert_same(&what("output"), &conv.forward(&source, Some(&bias)), &load("output"), 2e-5);
        assert_same(&what("gradient"), &conv.backward_data(&gradient), &load("grad_x"), 2e-5);
        // Rounding to bf16 keeps what is infinite or NaN.
        let rounding = Conv { algorithm: Algorithm::DirectBf16, shape: shape.clone(), ..conv };
        assert_same(&what("bf16 output"), &rounding.forward(&source, Some(&bias)), &load("output"), 2e-2);
        assert_same(&what("bf16 gradient"), &rounding.backward_data(&gradient), &load("grad_x"), 2e-2);
        let [grad_weights, grad_bias] = conv.backward_weights(&source, &gradient);
        let mut expected = vec![0.0; weights.len()];
        scalar::conv_backward_weights(shape, &[source], &gradient, &mut expected);
        let expected = of_voxels_in_the_image(&load("grad_weights"), &expected);
        assert_not_hidden(&what("weight gradient"), &grad_weights, &expected, 2e-5);
        assert_same(&what("bias gradient"), &grad_bias, &load("grad_bias"), 2e-5);
    }
}

#[test]
fn convolutions_match_pytorch() {
    let conv = |batch, input, channels, out, stride| {
        ConvShape::new(batch, input, &[channels], out, [3; 3], stride).unwrap()
    };
    check_conv("leaky", &conv(2, [4, 4, 9], 3, 17, [1; 3]), 0.01);
    check_conv("relu", &conv(1, [3, 5, 9], 17, 5, [1; 3]), 0.0);
    check_conv("strided", &conv(1, [5, 7, 6], 5, 18, [2; 3]), 0.01);
}

#[test]
fn first_layer_matches_pytorch() {
    let shape = ConvShape::new(1, [3, 5, 7], &[1], 17, [3; 3], [1; 3]).unwrap();
    let load = |part: &str| load(&format!("first_{part}"));
    for ctx in contexts() {
        let mut output = AlignedBuffer::new(shape.output().len());
        let (x, weights, bias) = (load("x"), load("weights"), load("bias"));
        first_layer::forward(&ctx, &shape, &x, &weights, Some(&bias), &mut output, None).unwrap();
        assert_same("output", &plain(&ctx, &shape.output(), &output), &load("output"), 2e-5);
        let gradient = blocked(&ctx, &shape.output(), &load("grad"));
        let mut grad_weights = vec![0.5; weights.len()];
        first_layer::backward_weights(&ctx, &shape, &x, &gradient, &mut grad_weights, None).unwrap();
        let mut expected = vec![0.0; weights.len()];
        scalar::first_layer_backward_weights(&shape, &x, &gradient, &mut expected);
        let expected = of_voxels_in_the_image(&load("grad_weights"), &expected);
        assert_not_hidden("weight gradient", &grad_weights, &expected, 2e-5);
    }
}

#[test]
fn denormal_numbers_match_pytorch() {
    let shape = ConvShape::new(1, [3, 4, 6], &[5], 18, [3; 3], [1; 3]).unwrap();
    let (x, weights, expected) = (load("denormal_x"), load("denormal_weights"), load("denormal_output"));
    for ctx in contexts() {
        let data = blocked(&ctx, &shape.source(0), &x);
        let winograd = [Variant::W1, Variant::W2, Variant::W2Z, Variant::W4].map(Algorithm::Winograd);
        for algorithm in [Algorithm::Direct].into_iter().chain(winograd) {
            let conv = Conv { ctx: &ctx, shape: shape.clone(), algorithm, weights: &weights };
            let tolerance = if algorithm == Algorithm::Direct { 2e-5 } else { 1e-4 };
            assert_same("denormal", &conv.forward(&Source::raw(&data), None), &expected, tolerance);
        }
        let [scale, shift] = identity(&shape.source(0));
        for (name, negative_slope) in [("leaky", 0.01), ("relu", 0.0)] {
            let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope });
            let mut output = AlignedBuffer::new(data.len());
            activation::apply(
                &ctx,
                &shape.source(0),
                &Source { data: Values::F32(&data), affine },
                &mut output,
            )
            .unwrap();
            let found = plain(&ctx, &shape.source(0), &output);
            assert_same(name, &found, &load(&format!("denormal_{name}")), 0.0);
        }
    }
}

#[test]
fn activations_and_sums_match_pytorch() {
    let shape = BlockedShape { batch: 1, channels: 16, spatial: [1, 1, 1] };
    let (x, other) = (load("values_x"), load("values_other"));
    let [scale, shift] = identity(&shape);
    for ctx in contexts() {
        for (name, negative_slope) in [("leaky", 0.01), ("relu", 0.0)] {
            let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope });
            let mut output = AlignedBuffer::new(16);
            activation::apply(&ctx, &shape, &Source { data: Values::F32(&x), affine }, &mut output).unwrap();
            assert_same(name, &output, &load(&format!("values_{name}")), 0.0);
            let (a, b) = (Source::raw(&x), Source::raw(&other));
            activation::add(&ctx, &shape, &a, &b, negative_slope, &mut output).unwrap();
            assert_same(&format!("{name} of a sum"), &output, &load(&format!("sum_{name}")), 0.0);
        }
    }
}

#[test]
fn transposed_convolution_pooling_and_norm_match_pytorch() {
    for ctx in contexts() {
        let shape = TransposedShape::new(2, [2, 3, 2], 17, 3, [2; 3]).unwrap();
        let mut weights = TransposedWeights::new(&shape);
        weights.pack(&ctx, &load("transposed_weights")).unwrap();
        let data = blocked(&ctx, &shape.source(), &load("transposed_x"));
        let (mut output, bias) = (AlignedBuffer::new(shape.output().len()), load("transposed_bias"));
        transposed::forward(&ctx, &shape, &Source::raw(&data), &weights, Some(&bias), &mut output).unwrap();
        assert_same("transposed", &plain(&ctx, &shape.output(), &output), &load("transposed_output"), 2e-5);

        let input = BlockedShape { batch: 1, channels: 18, spatial: [2, 4, 4] };
        let shape = PoolShape::new(input, [2; 3]).unwrap();
        let data = blocked(&ctx, &input, &load("pool_x"));
        let mut output = AlignedBuffer::new(shape.output().len());
        average_forward(&ctx, &shape, &Source::raw(&data), &mut output).unwrap();
        assert_same("pooled", &plain(&ctx, &shape.output(), &output), &load("pool_output"), 2e-5);

        let shape = BlockedShape { batch: 1, channels: 5, spatial: [3, 4, 6] };
        let data = blocked(&ctx, &shape, &load("norm_x"));
        let len = shape.vector_len();
        let (mut mean, mut variance) = (vec![0.0; len], vec![0.0; len]);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        norm::statistics(&ctx, &shape, &data, statistics).unwrap();
        let (mut scale, mut shift) = (vec![0.0; len], vec![0.0; len]);
        norm::scale_shift(&shape, &mean, &variance, None, None, 1e-5, &mut scale, &mut shift).unwrap();
        let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope: 0.01 });
        let mut output = AlignedBuffer::new(shape.len());
        activation::apply(&ctx, &shape, &Source { data: Values::F32(&data), affine }, &mut output).unwrap();
        assert_same("normalised", &plain(&ctx, &shape, &output), &load("norm_output"), 2e-5);
    }
}

/// Voxels (z, y, x) of an output tile.
fn tile(variant: Variant) -> [usize; 3] {
    match variant {
        Variant::W1 => [1, 1, 4],
        Variant::W2 => [1, 2, 4],
        Variant::W2Z => [2, 2, 4],
        Variant::W4 => [1, 4, 4],
    }
}

/// Whether the tile of `voxel` reads one of the voxels `bad` of its sample.
fn is_near(voxel: [usize; 3], bad: &[[usize; 3]], tile: [usize; 3], padding: [usize; 3]) -> bool {
    bad.iter().any(|bad| {
        (0..3).all(|axis| {
            let first = voxel[axis] / tile[axis] * tile[axis];
            (first..first + tile[axis] + 2 * padding[axis]).contains(&(bad[axis] + padding[axis]))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_neither_hide_nor_spread(
        (z, y, x) in (1_usize..5, 1_usize..9, 1_usize..14),
        (channels, out) in (1_usize..35, 1_usize..35),
        kernel_z in prop::sample::select(vec![1_usize, 3]),
        values in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN])), 1..4),
        seed in 1_u32..,
    ) {
        let shape = ConvShape::new(1, [z, y, x], &[channels], out, [kernel_z, 3, 3], [1; 3]).unwrap();
        let mut state = seed;
        let mut random = |len: usize| -> Vec<f32> {
            (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
                })
                .collect()
        };
        let weights = random(shape.weights_len());
        let mut with_values = |tensor: &BlockedShape| {
            let mut data = random(tensor.plain_len());
            let mut bad = Vec::new();
            for (index, value) in &values {
                let at = index.index(data.len());
                data[at] = *value;
                let voxel = at % tensor.voxels();
                bad.push([voxel / (y * x), voxel / x % y, voxel % x]);
            }
            (data, bad)
        };
        let ((source, bad), (gradient, bad_gradient)) = (with_values(&shape.source(0)), with_values(&shape.output()));
        let scalar_ctx = Context::new(CpuLevel::Portable, 1);
        let (source, gradient) = (blocked(&scalar_ctx, &shape.source(0), &source), blocked(&scalar_ctx, &shape.output(), &gradient));
        let source = Source::raw(&source);
        let mut output = AlignedBuffer::new(shape.output().len());
        scalar::conv_forward(&shape, &[source], &weights, None, &mut output);
        let output = plain(&scalar_ctx, &shape.output(), &output);
        let mut grad_source = AlignedBuffer::new(shape.source(0).len());
        scalar::conv_backward_data(&shape, &gradient, &weights, &mut [GradientTarget::overwrite(&mut grad_source)]);
        let grad_source = plain(&scalar_ctx, &shape.source(0), &grad_source);
        let mut grad_weights = vec![0.0; weights.len()];
        scalar::conv_backward_weights(&shape, &[source], &gradient, &mut grad_weights);
        for ctx in contexts() {
            let conv = |algorithm| Conv { ctx: &ctx, shape: shape.clone(), algorithm, weights: &weights };
            let what = |part: &str, algorithm: Algorithm| format!("{part}, {algorithm:?}, {shape:?} at {}", ctx.level().name());
            let direct = conv(Algorithm::Direct);
            assert_same(&what("output", direct.algorithm), &direct.forward(&source, None), &output, 2e-5);
            assert_same(&what("gradient", direct.algorithm), &direct.backward_data(&gradient), &grad_source, 2e-5);
            let [found, _] = direct.backward_weights(&source, &gradient);
            assert_not_hidden(&what("weight gradient", direct.algorithm), &found, &grad_weights, 2e-5);
            for variant in [Variant::W1, Variant::W2, Variant::W2Z, Variant::W4] {
                let algorithm = Algorithm::Winograd(variant);
                if !algorithm.supports(&shape) {
                    continue;
                }
                let conv = conv(algorithm);
                for (part, found, expected, bad) in [
                    ("output", conv.forward(&source, None), &output, &bad),
                    ("gradient", conv.backward_data(&gradient), &grad_source, &bad_gradient),
                ] {
                    assert_not_hidden(&what(part, algorithm), &found, expected, 1e-4);
                    for (at, value) in found.iter().enumerate() {
                        let voxel = at % (z * y * x);
                        let voxel = [voxel / (y * x), voxel / x % y, voxel % x];
                        let near = is_near(voxel, bad, tile(variant), [kernel_z / 2, 1, 1]);
                        assert!(near || value.is_finite(), "{value} at {voxel:?} of {}", what(part, algorithm));
                    }
                }
                let [found, _] = conv.backward_weights(&source, &gradient);
                assert_not_hidden(&what("weight gradient", algorithm), &found, &grad_weights, 1e-4);
            }
        }
    }
}

//! Winograd convolutions against the scalar version (sums in f64), at every CPU level: random shapes, determinism, error bounds.
//!
//! Tolerance of single values: 2e-5 of the largest (W1, W2, W2Z) and 5e-5 (W4), for sums of up to some thousand products. The
//! relative RMS errors of W2 and W2Z are held against that of a direct f32 sum in `error_is_that_of_direct_sums`.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/stored.rs"]
mod stored;
#[path = "common/vector_code.rs"]
mod vector_code;

use nnunet_kernels::conv::winograd::Variant;
use nnunet_kernels::conv::{
    Affine, Algorithm, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut,
    WriteMode, backward_data, backward_weights, backward_weights_with, forward, forward_part,
};
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape, LANES};
use nnunet_kernels::{Context, CpuLevel, Values, ValuesMut, scalar};
use proptest::prelude::*;
use stored::{Stored, assert_rounded};

const VARIANTS: [Variant; 4] = [Variant::W1, Variant::W2, Variant::W2Z, Variant::W4];

/// Uniform in -1..1, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }

    /// A blocked tensor, padding lanes zero.
    fn blocked(&mut self, shape: &BlockedShape) -> AlignedBuffer {
        let mut data = AlignedBuffer::new(shape.len());
        for sample in 0..shape.batch {
            for channel in 0..shape.channels {
                for voxel in 0..shape.voxels() {
                    data[shape.index(sample, channel, voxel)] = self.next();
                }
            }
        }
        data
    }
}

/// A convolution with random content.
struct Case {
    shape: ConvShape,
    data: Vec<Stored>,
    vectors: Vec<Option<(Vec<f32>, Vec<f32>)>>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    grad_output: AlignedBuffer,
}

impl Case {
    fn new(shape: ConvShape, seed: u64) -> Self {
        Self::stored(shape, seed, false)
    }

    /// A case whose sources are bf16 with `as_bf16`.
    fn stored(shape: ConvShape, seed: u64, as_bf16: bool) -> Self {
        let mut random = Random(seed | 1);
        let sources = 0..shape.source_channels.len();
        let data = sources.clone().map(|i| Stored::new(random.blocked(&shape.source(i)), as_bf16)).collect();
        let vectors = sources
            .map(|i| {
                let source = shape.source(i);
                (i % 2 == 0).then(|| {
                    let (mut scale, mut shift) =
                        (vec![0.0; source.vector_len()], vec![0.0; source.vector_len()]);
                    for at in 0..source.vector_len() {
                        if at % source.padded_channels() < source.channels {
                            (scale[at], shift[at]) = (1.0 + random.next() * 0.5, random.next());
                        }
                    }
                    (scale, shift)
                })
            })
            .collect();
        let weights = random.values(shape.weights_len());
        let bias = random.values(shape.out_channels);
        let grad_output = random.blocked(&shape.output());
        Self { shape, data, vectors, weights, bias, grad_output }
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.sources_as(Stored::data)
    }

    /// The same values as f32.
    fn f32_sources(&self) -> Vec<Source<'_>> {
        self.sources_as(|stored| Values::F32(stored.values()))
    }

    fn sources_as<'a>(&'a self, data: impl Fn(&'a Stored) -> Values<'a>) -> Vec<Source<'a>> {
        self.data
            .iter()
            .zip(&self.vectors)
            .map(|(stored, vectors)| Source {
                data: data(stored),
                affine: vectors.as_ref().map(|(scale, shift)| Affine { scale, shift, negative_slope: 0.01 }),
            })
            .collect()
    }

    fn forward(&self, ctx: &Context, algorithm: Algorithm) -> (AlignedBuffer, Vec<f64>, Vec<f64>) {
        let mut weights = ForwardWeights::with_algorithm(&self.shape, algorithm);
        weights.pack(ctx, &self.weights).unwrap();
        let output = self.shape.output();
        let mut result = AlignedBuffer::new(output.len());
        result.fill(f32::NAN);
        let (mut mean, mut variance) =
            (vec![f64::NAN; output.vector_len()], vec![f64::NAN; output.vector_len()]);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        let (sources, bias) = (self.sources(), Some(&self.bias[..]));
        forward(ctx, &self.shape, &sources, &weights, bias, &mut result, Some(statistics)).unwrap();
        let mut rounded = vec![0; result.len()];
        let (mut same_mean, mut same_variance) = (vec![f64::NAN; mean.len()], vec![f64::NAN; mean.len()]);
        let statistics = StatisticsMut { mean: &mut same_mean, variance: &mut same_variance };
        let output = ValuesMut::Bf16(&mut rounded);
        forward(ctx, &self.shape, &sources, &weights, bias, output, Some(statistics)).unwrap();
        assert_rounded("output", &rounded, &result);
        assert!(same_mean == mean && same_variance == variance, "statistics of what was not rounded");
        (result, mean, variance)
    }

    fn forward_expected(&self) -> AlignedBuffer {
        let mut expected = AlignedBuffer::new(self.shape.output().len());
        scalar::conv_forward(
            &self.shape,
            &self.f32_sources(),
            &self.weights,
            Some(&self.bias),
            &mut expected,
        );
        expected
    }

    /// Gradients of all sources; odd sources are added to a buffer of ones.
    fn data_gradient(&self, run: impl FnOnce(&mut [GradientTarget<'_>])) -> Vec<AlignedBuffer> {
        let mut buffers: Vec<_> =
            (0..self.data.len()).map(|i| AlignedBuffer::new(self.shape.source(i).len())).collect();
        let mut targets: Vec<_> = buffers
            .iter_mut()
            .enumerate()
            .map(|(i, data)| {
                data.fill(if i % 2 == 0 { f32::NAN } else { 1.0 });
                let mode = if i % 2 == 0 { WriteMode::Overwrite } else { WriteMode::Accumulate };
                GradientTarget { data, mode }
            })
            .collect();
        run(&mut targets);
        buffers
    }

    fn backward_data(&self, ctx: &Context, algorithm: Algorithm) -> Vec<AlignedBuffer> {
        let mut weights = DataWeights::with_algorithm(&self.shape, algorithm);
        weights.pack(ctx, &self.weights).unwrap();
        self.data_gradient(|targets| {
            backward_data(ctx, &self.shape, &self.grad_output, &weights, targets).unwrap()
        })
    }

    fn backward_data_expected(&self) -> Vec<AlignedBuffer> {
        self.data_gradient(|targets| {
            scalar::conv_backward_data(&self.shape, &self.grad_output, &self.weights, targets);
        })
    }
}

impl Case {
    fn weight_gradient(&self, ctx: &Context, algorithm: Algorithm) -> (Vec<f32>, Vec<f32>) {
        let (mut weights, mut bias) =
            (vec![f32::NAN; self.shape.weights_len()], vec![f32::NAN; self.shape.out_channels]);
        let (sources, gradient) = (self.sources(), &self.grad_output);
        let bias_out = Some(&mut bias[..]);
        backward_weights_with(ctx, &self.shape, algorithm, &sources, gradient, &mut weights, bias_out)
            .unwrap();
        (weights, bias)
    }

    fn weight_gradient_expected(&self) -> Vec<f32> {
        let mut expected = vec![0.0; self.shape.weights_len()];
        scalar::conv_backward_weights(&self.shape, &self.f32_sources(), &self.grad_output, &mut expected);
        expected
    }
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= tolerance * largest;
        assert!(close, "{what}[{at}]: {found}, expected {expected}, largest {largest}");
    }
}

fn tolerance(variant: Variant) -> f32 {
    if variant == Variant::W4 { 5e-5 } else { 2e-5 }
}

fn check(case: &Case) {
    let expected = case.forward_expected();
    let output = case.shape.output();
    let (mut mean, mut variance) = (vec![0.0; output.vector_len()], vec![0.0; output.vector_len()]);
    scalar::statistics(&output, &expected, StatisticsMut { mean: &mut mean, variance: &mut variance });
    let gradients = case.backward_data_expected();
    let weight_gradient = case.weight_gradient_expected();
    for level in CpuLevel::available() {
        let ctx = Context::new(level, 2);
        for variant in VARIANTS {
            let what = format!("{level:?} {variant:?} {:?}", case.shape);
            let (result, found_mean, found_variance) = case.forward(&ctx, Algorithm::Winograd(variant));
            assert_close(&format!("forward {what}"), &result, &expected, tolerance(variant));
            let scale = variance.iter().fold(1.0_f64, |largest, value| largest.max(*value));
            for at in 0..mean.len() {
                assert!((found_mean[at] - mean[at]).abs() <= 2e-5 * scale.sqrt(), "mean {at} {what}");
                let error = (found_variance[at] - variance[at]).abs();
                assert!(
                    error <= 1e-4 * scale,
                    "variance {at}: {} {} {what}",
                    found_variance[at],
                    variance[at]
                );
            }
            let found = case.backward_data(&ctx, Algorithm::Winograd(variant));
            for (index, (found, expected)) in found.iter().zip(&gradients).enumerate() {
                assert_close(
                    &format!("gradient of source {index}, {what}"),
                    found,
                    expected,
                    tolerance(variant),
                );
            }
            let found = case.weight_gradient(&ctx, Algorithm::Winograd(variant)).0;
            assert_close(&format!("weight gradient, {what}"), &found, &weight_gradient, tolerance(variant));
        }
    }
}

fn conv(batch: usize, input: [usize; 3], sources: &[usize], out: usize, kernel_z: usize) -> ConvShape {
    ConvShape::new(batch, input, sources, out, [kernel_z, 3, 3], [1, 1, 1]).unwrap()
}

/// The sources added up from the last to the first give the convolution of all, and its statistics.
#[test]
fn sources_may_contribute_one_after_the_other() {
    for shape in [conv(2, [5, 9, 13], &[20, 33, 7], 40, 3), conv(1, [1, 8, 30], &[16, 32], 17, 1)] {
        let case = Case::new(shape, 5);
        let (expected, output) = (case.forward_expected(), case.shape.output());
        let (mut mean, mut variance) = (vec![0.0; output.vector_len()], vec![0.0; output.vector_len()]);
        scalar::statistics(&output, &expected, StatisticsMut { mean: &mut mean, variance: &mut variance });
        let algorithms = VARIANTS.map(Algorithm::Winograd).into_iter().chain([Algorithm::Direct]);
        for (level, algorithm) in
            CpuLevel::available().into_iter().flat_map(|l| algorithms.clone().map(move |a| (l, a)))
        {
            let (ctx, what) = (Context::new(level, 2), format!("{level:?} {algorithm:?}"));
            let mut weights = ForwardWeights::with_algorithm(&case.shape, algorithm);
            weights.pack(&ctx, &case.weights).unwrap();
            let mut result = AlignedBuffer::new(output.len());
            result.fill(f32::NAN);
            let (mut found_mean, mut found_variance) =
                (vec![f64::NAN; mean.len()], vec![f64::NAN; mean.len()]);
            let sources = case.sources();
            for first in (0..sources.len()).rev() {
                let last = first + 1 == sources.len();
                let mode = if last { WriteMode::Overwrite } else { WriteMode::Accumulate };
                let statistics = StatisticsMut { mean: &mut found_mean, variance: &mut found_variance };
                let (bias, part) = (Some(&case.bias[..]), &sources[first..=first]);
                forward_part(
                    &ctx,
                    &case.shape,
                    first,
                    part,
                    &weights,
                    bias,
                    &mut result,
                    mode,
                    (first == 0).then_some(statistics),
                )
                .unwrap();
            }
            assert_close(&what, &result, &expected, tolerance(Variant::W4));
            for (found, expected) in
                found_mean.iter().chain(&found_variance).zip(mean.iter().chain(&variance))
            {
                assert!(
                    (found - expected).abs() <= 1e-3 * (1.0 + expected.abs()),
                    "{found} {expected} {what}"
                );
            }
            let beyond = forward_part(
                &ctx,
                &case.shape,
                1,
                &sources,
                &weights,
                None,
                &mut result,
                WriteMode::Overwrite,
                None,
            );
            assert!(beyond.is_err(), "{what}");
        }
    }
}

fn shape() -> impl Strategy<Value = ConvShape> {
    let input = (1_usize..7, 1_usize..12, 1_usize..15);
    let sources = prop::collection::vec(1_usize..40, 1..4);
    (1_usize..4, input, sources, 1_usize..50, prop::sample::select(vec![1_usize, 3])).prop_map(
        |(batch, (z, y, x), sources, out, kernel_z)| conv(batch, [z, y, x], &sources, out, kernel_z),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_match_the_scalar_version(shape in shape(), seed in any::<u64>()) {
        check(&Case::new(shape, seed));
    }

    #[test]
    fn random_shapes_of_bf16_match_the_scalar_version(shape in shape(), seed in any::<u64>()) {
        check(&Case::stored(shape, seed, true));
    }
}

#[test]
fn sizes_of_real_networks_match_the_scalar_version() {
    // Deep levels (all planes held, planes joined), few channels on larger planes (bands), 2-D.
    for (batch, input, sources, out, kernel_z) in [
        (2, [5, 7, 5], &[32, 32][..], 48, 3),
        (1, [4, 4, 4], &[96], 64, 3),
        (2, [10, 14, 10], &[32], 32, 3),
        (1, [12, 30, 26], &[32], 16, 3),
        (2, [1, 33, 37], &[16, 17], 32, 1),
    ] {
        for as_bf16 in [false, true] {
            check(&Case::stored(conv(batch, input, sources, out, kernel_z), 7, as_bf16));
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for (input, channels) in [([9, 30, 26], 32), ([6, 14, 10], 80)] {
        let case = Case::new(conv(2, input, &[channels], 48, 3), 3);
        for variant in VARIANTS {
            let algorithm = Algorithm::Winograd(variant);
            let one = Context::new(CpuLevel::detect(), 1);
            let (result, mean, variance) = case.forward(&one, algorithm);
            let gradient = case.backward_data(&one, algorithm);
            let weight_gradient = case.weight_gradient(&one, algorithm);
            for threads in [1, 2, 5] {
                let ctx = Context::new(CpuLevel::detect(), threads);
                let again = case.forward(&ctx, algorithm);
                assert!(
                    again.0[..] == result[..] && again.1 == mean && again.2 == variance,
                    "{threads} threads"
                );
                assert!(case.backward_data(&ctx, algorithm)[0][..] == gradient[0][..], "{threads} threads");
                assert!(case.weight_gradient(&ctx, algorithm) == weight_gradient, "{threads} threads");
            }
        }
    }
}

/// Relative RMS error.
fn rms_error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value) * f64::from(value);
    let error: f64 = found.iter().zip(expected).map(|(found, expected)| square(found - expected)).sum();
    (error / expected.iter().map(|value| square(*value)).sum::<f64>()).sqrt()
}

/// A direct sum in f32, in the order of the direct kernel: blocks, taps, channels, with fused multiply-add.
fn direct_f32(case: &Case) -> AlignedBuffer {
    let (shape, output) = (&case.shape, case.shape.output());
    let [_, height, width] = shape.input;
    let inputs = scalar::materialise(&shape.source(0), &case.sources()[0]);
    let (voxels, channels) = (output.voxels(), shape.source_channels[0]);
    let mut result = AlignedBuffer::new(output.len());
    for voxel in 0..voxels {
        let position = [voxel / (height * width), voxel / width % height, voxel % width];
        for out in 0..shape.out_channels {
            let mut sum = case.bias[out];
            for block in 0..channels / LANES {
                for tap in 0..27 {
                    let at: Option<Vec<usize>> = [tap / 9, tap / 3 % 3, tap % 3]
                        .iter()
                        .zip(position)
                        .zip(shape.input)
                        .map(|((tap, at), size)| (at + tap).checked_sub(1).filter(|at| *at < size))
                        .collect();
                    let Some(at) = at else { continue };
                    for lane in 0..LANES {
                        let channel = block * LANES + lane;
                        let value = inputs[channel * voxels + (at[0] * height + at[1]) * width + at[2]];
                        sum = value.mul_add(case.weights[(out * channels + channel) * 27 + tap], sum);
                    }
                }
            }
            result[output.index(0, out, voxel)] = sum;
        }
    }
    result
}

#[test]
fn error_is_that_of_direct_sums() {
    let ctx = Context::new(CpuLevel::detect(), 2);
    for channels in [32, 128] {
        let case = Case::new(conv(1, [6, 9, 9], &[channels], 32, 3), 11);
        let expected = case.forward_expected();
        let direct = rms_error(&direct_f32(&case), &expected);
        let errors =
            VARIANTS.map(|variant| rms_error(&case.forward(&ctx, Algorithm::Winograd(variant)).0, &expected));
        let message = format!(
            "{channels} channels: direct {direct:.2e}, W1 {:.2e}, W2 {:.2e}, W2Z {:.2e}, W4 {:.2e}",
            errors[0], errors[1], errors[2], errors[3]
        );
        assert!(errors[..3].iter().all(|error| *error <= 2.0 * direct), "{message}");
        assert!(errors[3] <= 6.0 * direct, "{message}");
    }
}

/// Long sums: the hierarchy of partial sums must hold errors down at least as well as that of the direct weight gradient.
#[test]
fn error_of_weight_gradients_is_not_above_that_of_direct_sums() {
    let ctx = Context::new(CpuLevel::detect(), 2);
    let case = Case::new(conv(1, [32, 40, 40], &[16], 16, 3), 13);
    let expected = case.weight_gradient_expected();
    let mut direct = vec![0.0; expected.len()];
    backward_weights(&ctx, &case.shape, &case.sources(), &case.grad_output, &mut direct, None).unwrap();
    let direct = rms_error(&direct, &expected);
    let errors = [Variant::W1, Variant::W2, Variant::W2Z]
        .map(|variant| rms_error(&case.weight_gradient(&ctx, Algorithm::Winograd(variant)).0, &expected));
    let message =
        format!("direct {direct:.2e}, W1 {:.2e}, W2 {:.2e}, W2Z {:.2e}", errors[0], errors[1], errors[2]);
    assert!(errors.iter().all(|error| *error <= direct), "{message}");
}

#[test]
fn unsupported_kernels_stay_direct_and_foreign_weights_are_refused() {
    let ctx = Context::new(CpuLevel::detect(), 1);
    let algorithm = Algorithm::Winograd(Variant::W2);
    let strided = ConvShape::new(1, [4, 4, 4], &[16], 16, [3, 3, 3], [2, 2, 2]).unwrap();
    assert!(!algorithm.supports(&strided));
    let case = Case::new(strided, 5);
    assert_close("strided", &case.forward(&ctx, algorithm).0, &case.forward_expected(), 2e-5);
    assert_close("strided", &case.weight_gradient(&ctx, algorithm).0, &case.weight_gradient_expected(), 2e-5);

    let mut weights = ForwardWeights::with_algorithm(&conv(1, [4, 4, 4], &[16], 16, 3), algorithm);
    weights.pack(&ctx, &vec![0.0; 16 * 16 * 27]).unwrap();
    let (input, mut output) = (AlignedBuffer::new(16 * 64), AlignedBuffer::new(16 * 8));
    let error =
        forward(&ctx, &case.shape, &[Source::raw(&input)], &weights, None, &mut output, None).unwrap_err();
    assert!(error.to_string().contains("packed weights"), "{error}");
}

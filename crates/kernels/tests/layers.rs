//! Every layer and its gradients against PyTorch (goldens in `golden/layers`, made by the script beside them), at every CPU level.
//! Tolerance: 2e-5 of the largest value, f32 sums of up to a few hundred terms.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/golden.rs"]
mod golden;

use golden::{blocked, contexts, plain};
use nnunet_kernels::Values;
use nnunet_kernels::conv::{
    Affine, ConvShape, DataWeights, ForwardWeights, GradientTarget, Source, StatisticsMut, backward_data,
    backward_weights, forward,
};
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape};
use nnunet_kernels::norm::{self, NormBackward, NormGradients, NormOver};
use nnunet_kernels::pooling::{PoolShape, average_backward, average_forward};
use nnunet_kernels::transposed::{self, TransposedShape, TransposedWeights};

fn load(name: &str) -> Vec<f32> {
    golden::load("layers", name)
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 2e-5 * largest, "{what}[{at}]: {found}, PyTorch has {expected}");
    }
}

/// Norm, activation, concatenation and convolution, forward and backward.
fn check_conv(name: &str, shape: &ConvShape) {
    const EPS: f64 = 1e-5;
    const SLOPE: f32 = 0.01;
    for ctx in contexts() {
        let load = |part: String| load(&format!("{name}_{part}"));
        let output_shape = shape.output();
        let sources = shape.source_channels.len();
        let mut raw = Vec::new();
        let mut vectors = Vec::new();
        for i in 0..sources {
            let source = shape.source(i);
            let data = blocked(&ctx, &source, &load(format!("raw{i}")));
            let len = source.vector_len();
            let (mut mean, mut variance) = (vec![0.0; len], vec![0.0; len]);
            let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
            norm::statistics(&ctx, &source, &data, statistics).unwrap();
            let (mut scale, mut shift) = (vec![0.0; len], vec![0.0; len]);
            let (gamma, beta) = (load(format!("gamma{i}")), load(format!("beta{i}")));
            let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
            norm::scale_shift(&source, &mean, &variance, g, b, EPS, &mut scale, &mut shift).unwrap();
            raw.push(data);
            vectors.push((mean, variance, scale, shift, gamma));
        }
        let inputs: Vec<_> = raw
            .iter()
            .zip(&vectors)
            .map(|(data, (_, _, scale, shift, _))| Source {
                data: Values::F32(data),
                affine: Some(Affine { scale, shift, negative_slope: SLOPE }),
            })
            .collect();
        let weights = load("weights".into());
        let (mut packed, mut packed_data) = (ForwardWeights::new(shape), DataWeights::new(shape));
        packed.pack(&ctx, &weights).unwrap();
        packed_data.pack(&ctx, &weights).unwrap();

        let mut output = AlignedBuffer::new(output_shape.len());
        output.fill(f32::NAN);
        let vector = output_shape.vector_len();
        let (mut mean, mut variance) = (vec![f64::NAN; vector], vec![f64::NAN; vector]);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        forward(&ctx, shape, &inputs, &packed, Some(&load("bias".into())), &mut output, Some(statistics))
            .unwrap();
        assert_close("output", &plain(&ctx, &output_shape, &output), &load("output".into()));
        let (mut direct_mean, mut direct_variance) = (vec![0.0; vector], vec![0.0; vector]);
        let statistics = StatisticsMut { mean: &mut direct_mean, variance: &mut direct_variance };
        nnunet_kernels::scalar::statistics(&output_shape, &output, statistics);
        for at in 0..vector {
            assert!((mean[at] - direct_mean[at]).abs() < 1e-5, "mean[{at}] {} {}", mean[at], direct_mean[at]);
            let error = (variance[at] - direct_variance[at]).abs();
            assert!(
                error <= 1e-5 * direct_variance[at],
                "variance[{at}] {} {}",
                variance[at],
                direct_variance[at]
            );
        }

        let gradient = blocked(&ctx, &output_shape, &load("grad".into()));
        let (mut grad_weights, mut grad_bias) =
            (vec![f32::NAN; weights.len()], vec![f32::NAN; shape.out_channels]);
        backward_weights(&ctx, shape, &inputs, &gradient, &mut grad_weights, Some(&mut grad_bias)).unwrap();
        assert_close("grad_weights", &grad_weights, &load("grad_weights".into()));
        assert_close("grad_bias", &grad_bias, &load("grad_bias".into()));

        let mut grads: Vec<_> = (0..sources).map(|i| AlignedBuffer::new(shape.source(i).len())).collect();
        grads.iter_mut().for_each(|grad| grad.fill(f32::NAN));
        let mut targets: Vec<_> = grads.iter_mut().map(|data| GradientTarget::overwrite(data)).collect();
        backward_data(&ctx, shape, &gradient, &packed_data, &mut targets).unwrap();
        for (i, grad) in grads.iter_mut().enumerate() {
            let (source, (mean, variance, scale, shift, gamma)) = (shape.source(i), &vectors[i]);
            let gamma = Some(&gamma[..]);
            let norm = NormBackward {
                over: NormOver::Voxels,
                raw: Values::F32(&raw[i]),
                scale,
                shift,
                mean,
                variance,
                gamma,
                eps: EPS,
                negative_slope: SLOPE,
            };
            let (mut grad_gamma, mut grad_beta) = (vec![0.0; source.channels], vec![0.0; source.channels]);
            let parameters = NormGradients { gamma: Some(&mut grad_gamma), beta: Some(&mut grad_beta) };
            norm::backward(&ctx, &source, &norm, grad, parameters).unwrap();
            assert_close("grad_raw", &plain(&ctx, &source, grad), &load(format!("grad_raw{i}")));
            assert_close("grad_gamma", &grad_gamma, &load(format!("grad_gamma{i}")));
            assert_close("grad_beta", &grad_beta, &load(format!("grad_beta{i}")));
        }
    }
}

#[test]
fn concatenation_of_two_normalised_sources() {
    check_conv("concat", &ConvShape::new(2, [4, 5, 6], &[5, 18], 19, [3; 3], [1; 3]).unwrap());
}

#[test]
fn stride_two_on_odd_sizes() {
    check_conv("strided", &ConvShape::new(1, [5, 7, 6], &[17], 6, [3; 3], [2; 3]).unwrap());
}

#[test]
fn anisotropic_kernel_and_stride() {
    check_conv("aniso", &ConvShape::new(1, [3, 6, 5], &[3], 33, [1, 3, 3], [1, 2, 1]).unwrap());
}

#[test]
fn even_kernel_and_uneven_strides() {
    check_conv("even", &ConvShape::new(1, [4, 4, 7], &[4], 4, [2, 4, 5], [1, 3, 2]).unwrap());
}

#[test]
fn transposed_convolution() {
    let shape = TransposedShape::new(2, [2, 3, 2], 17, 5, [2, 1, 3]).unwrap();
    let load = |part: &str| load(&format!("transposed_{part}"));
    for ctx in contexts() {
        let mut weights = TransposedWeights::new(&shape);
        weights.pack(&ctx, &load("weights")).unwrap();
        let source = blocked(&ctx, &shape.source(), &load("source"));
        let mut output = AlignedBuffer::new(shape.output().len());
        let raw = Source::raw(&source);
        transposed::forward(&ctx, &shape, &raw, &weights, Some(&load("bias")), &mut output).unwrap();
        assert_close("output", &plain(&ctx, &shape.output(), &output), &load("output"));
        let gradient = blocked(&ctx, &shape.output(), &load("grad"));
        let ones = vec![1.0; shape.source().plain_len()];
        let mut grad_source = blocked(&ctx, &shape.source(), &ones);
        let mut target = GradientTarget::accumulate(&mut grad_source);
        transposed::backward_data(&ctx, &shape, &gradient, &weights, &mut target).unwrap();
        let expected: Vec<f32> = load("grad_source").iter().map(|value| value + 1.0).collect();
        assert_close("grad_source", &plain(&ctx, &shape.source(), &grad_source), &expected);
        let (mut grad_weights, mut grad_bias) = (vec![0.0; shape.weights_len()], vec![0.0; 5]);
        transposed::backward_weights(&ctx, &shape, &raw, &gradient, &mut grad_weights, Some(&mut grad_bias))
            .unwrap();
        assert_close("grad_weights", &grad_weights, &load("grad_weights"));
        assert_close("grad_bias", &grad_bias, &load("grad_bias"));
    }
}

#[test]
fn average_pooling() {
    let input = BlockedShape { batch: 1, channels: 3, spatial: [5, 4, 7] };
    let shape = PoolShape::new(input, [2, 1, 3]).unwrap();
    for ctx in contexts() {
        let source = blocked(&ctx, &input, &load("pool_source"));
        let mut output = AlignedBuffer::new(shape.output().len());
        average_forward(&ctx, &shape, &Source::raw(&source), &mut output).unwrap();
        assert_close("output", &plain(&ctx, &shape.output(), &output), &load("pool_output"));
        let gradient = blocked(&ctx, &shape.output(), &load("pool_grad"));
        let mut grad_source = AlignedBuffer::new(input.len());
        average_backward(&ctx, &shape, &gradient, &mut GradientTarget::overwrite(&mut grad_source)).unwrap();
        assert_close("grad_source", &plain(&ctx, &input, &grad_source), &load("pool_grad_source"));
    }
}

//! Batch norm, group norm and GELU against PyTorch (goldens in `golden/norms`, made by the script beside them), and the gradients
//! of all norms against central differences in f64, at every CPU level. Tolerance: 2e-5 of the largest value.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/golden.rs"]
mod golden;

use golden::{blocked, contexts, plain};
use nnunet_kernels::conv::{Affine, GradientTarget, Source, StatisticsMut};
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape, to_plain};
use nnunet_kernels::norm::{self, NormBackward, NormGradients, NormOver};
use nnunet_kernels::{Context, CpuLevel, Values, activation, gelu};

fn load(name: &str) -> Vec<f32> {
    golden::load("norms", name)
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 2e-5 * largest, "{what}[{at}]: {found}, expected {expected}");
    }
}

/// leaky(norm(x)) with its statistics and what a reader applies.
struct Forward {
    raw: AlignedBuffer,
    mean: Vec<f64>,
    variance: Vec<f64>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// A norm with its parameters.
struct Norm<'a> {
    shape: BlockedShape,
    over: NormOver,
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f64,
    slope: f32,
}

impl Norm<'_> {
    fn forward(&self, ctx: &Context, x: &[f32]) -> Forward {
        let raw = blocked(ctx, &self.shape, x);
        let vector = self.shape.vector_len();
        let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        norm::statistics(ctx, &self.shape, &raw, statistics).unwrap();
        let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
        norm::merge_statistics(&self.shape, self.over, statistics).unwrap();
        let (scale, shift) = self.scale_shift(&mean, &variance);
        Forward { raw, mean, variance, scale, shift }
    }

    fn scale_shift(&self, mean: &[f64], variance: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let (mut scale, mut shift) = (vec![0.0; mean.len()], vec![0.0; mean.len()]);
        let (gamma, beta) = (Some(self.gamma), Some(self.beta));
        norm::scale_shift(&self.shape, mean, variance, gamma, beta, self.eps, &mut scale, &mut shift)
            .unwrap();
        (scale, shift)
    }

    fn applied(&self, ctx: &Context, forward: &Forward) -> Vec<f32> {
        let Forward { raw, scale, shift, .. } = forward;
        let affine = Some(Affine { scale, shift, negative_slope: self.slope });
        let mut output = vec![0.0; self.shape.len()];
        activation::apply(ctx, &self.shape, &Source { data: Values::F32(raw), affine }, &mut output).unwrap();
        plain(ctx, &self.shape, &output)
    }

    /// Gradients of the input, the weight and the bias.
    fn backward(&self, ctx: &Context, forward: &Forward, gradient: &[f32]) -> [Vec<f32>; 3] {
        let mut gradient = blocked(ctx, &self.shape, gradient);
        let Forward { raw, mean, variance, scale, shift } = forward;
        let norm = NormBackward {
            over: self.over,
            raw: Values::F32(raw),
            scale,
            shift,
            mean,
            variance,
            gamma: Some(self.gamma),
            eps: self.eps,
            negative_slope: self.slope,
        };
        let (mut gamma, mut beta) =
            (vec![f32::NAN; self.shape.channels], vec![f32::NAN; self.shape.channels]);
        let parameters = NormGradients { gamma: Some(&mut gamma), beta: Some(&mut beta) };
        norm::backward(ctx, &self.shape, &norm, &mut gradient, parameters).unwrap();
        [plain(ctx, &self.shape, &gradient), gamma, beta]
    }

    /// Sum of the activated values times `weights`, in f64 throughout; gamma and beta as given.
    fn loss(&self, x: &[f64], gamma: &[f64], beta: &[f64], weights: &[f32]) -> f64 {
        let (voxels, channels) = (self.shape.voxels(), self.shape.channels);
        let set = |row: usize| match self.over {
            NormOver::Voxels => row,
            NormOver::Batch => row % channels,
            NormOver::Groups(groups) => row / (channels / groups),
        };
        let mut total = 0.0;
        for row in 0..self.shape.batch * channels {
            let members: Vec<f64> =
                (0..x.len()).filter(|at| set(at / voxels) == set(row)).map(|at| x[at]).collect();
            let mean = members.iter().sum::<f64>() / members.len() as f64;
            let variance = members.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / members.len() as f64;
            for at in row * voxels..(row + 1) * voxels {
                let value = (x[at] - mean) / (variance + self.eps).sqrt() * gamma[row % channels]
                    + beta[row % channels];
                let activated = if value > 0.0 { value } else { value * f64::from(self.slope) };
                total += activated * f64::from(weights[at]);
            }
        }
        total
    }
}

fn check_golden(name: &str, shape: BlockedShape, over: NormOver, eps: f64) {
    let load = |part: &str| load(&format!("{name}_{part}"));
    let (gamma, beta) = (load("gamma"), load("beta"));
    let norm = Norm { shape, over, gamma: &gamma, beta: &beta, eps, slope: 0.01 };
    for ctx in contexts() {
        let forward = norm.forward(&ctx, &load("x"));
        assert_close("output", &norm.applied(&ctx, &forward), &load("y"));
        let [grad_x, grad_gamma, grad_beta] = norm.backward(&ctx, &forward, &load("grad"));
        assert_close("gradient of the input", &grad_x, &load("grad_x"));
        assert_close("gradient of gamma", &grad_gamma, &load("grad_gamma"));
        assert_close("gradient of beta", &grad_beta, &load("grad_beta"));
    }
}

#[test]
fn group_norm() {
    let shape = BlockedShape { batch: 2, channels: 18, spatial: [2, 3, 3] };
    check_golden("group", shape, NormOver::Groups(6), 1e-5);
}

#[test]
fn batch_norm_trains_and_evaluates() {
    let shape = BlockedShape { batch: 3, channels: 17, spatial: [1, 3, 5] };
    check_golden("batch", shape, NormOver::Batch, 1e-3);
    let load = |part: &str| load(&format!("batch_{part}"));
    let (gamma, beta) = (load("gamma"), load("beta"));
    let norm = Norm { shape, over: NormOver::Batch, gamma: &gamma, beta: &beta, eps: 1e-3, slope: 0.01 };
    for ctx in contexts() {
        let mut forward = norm.forward(&ctx, &load("x"));
        let (mut mean, mut variance) = (vec![0.0; 17], vec![1.0; 17]);
        norm::update_running(&shape, &forward.mean, &forward.variance, 0.2, &mut mean, &mut variance)
            .unwrap();
        assert_close("running mean", &mean, &load("running_mean"));
        assert_close("running variance", &variance, &load("running_variance"));
        let statistics = StatisticsMut { mean: &mut forward.mean, variance: &mut forward.variance };
        norm::use_running(&shape, &mean, &variance, statistics).unwrap();
        (forward.scale, forward.shift) = norm.scale_shift(&forward.mean, &forward.variance);
        assert_close("evaluation", &norm.applied(&ctx, &forward), &load("eval"));
    }
}

#[test]
fn gradients_of_norms_match_finite_differences() {
    let shape = BlockedShape { batch: 3, channels: 4, spatial: [1, 2, 3] };
    let value = |i: usize| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
    let x: Vec<f32> = (0..shape.plain_len()).map(value).collect();
    let weights: Vec<f32> = (0..shape.plain_len()).map(|i| value(i * 3 + 5)).collect();
    let (gamma, beta) = ([1.2_f32, -0.7, 0.9, 0.4], [0.1_f32, 0.3, -0.2, 0.0]);
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    for over in [NormOver::Voxels, NormOver::Batch, NormOver::Groups(1), NormOver::Groups(2)] {
        let norm = Norm { shape, over, gamma: &gamma, beta: &beta, eps: 1e-5, slope: 0.1 };
        for ctx in contexts() {
            let forward = norm.forward(&ctx, &x);
            let found = norm.backward(&ctx, &forward, &weights);
            let start = [wide(&x), wide(&gamma), wide(&beta)];
            for (what, found) in found.iter().enumerate() {
                for (at, found) in found.iter().enumerate() {
                    let shifted = |step: f64| {
                        let mut values = start.clone();
                        values[what][at] += step;
                        norm.loss(&values[0], &values[1], &values[2], &weights)
                    };
                    let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 3e-5, "{over:?} {what} {at}: {found}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn gelu_and_its_slope_with_everything_that_is_not_a_number() {
    let x = load("gelu_x");
    let shape = BlockedShape { batch: 1, channels: 1, spatial: [1, 1, x.len()] };
    for ctx in contexts() {
        let blocked = blocked(&ctx, &shape, &x);
        // The slope is taken of padding, too.
        let plain = |blocked: &[f32]| {
            let mut plain = vec![0.0; x.len()];
            to_plain(&ctx, &shape, blocked, &mut plain).unwrap();
            plain
        };
        let mut output = AlignedBuffer::new(shape.len());
        gelu::forward(&ctx, &shape, &Source::raw(&blocked), &mut output).unwrap();
        let mut slope = AlignedBuffer::new(shape.len());
        let ones = vec![1.0; shape.len()];
        let mut target = GradientTarget::overwrite(&mut slope);
        gelu::backward(&ctx, &shape, &Source::raw(&blocked), &ones, &mut target).unwrap();
        for (found, expected) in [(plain(&output), load("gelu_y")), (plain(&slope), load("gelu_slope"))] {
            for ((found, expected), x) in found.iter().zip(&expected).zip(&x) {
                let close = (found - expected).abs() <= 2e-7 * expected.abs().max(1.0)
                    || (found.is_nan() && expected.is_nan())
                    || found == expected;
                assert!(close, "at {x}: {found}, PyTorch has {expected}");
            }
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let ctx = Context::new(CpuLevel::Portable, 1);
    let shape = BlockedShape { batch: 1, channels: 3, spatial: [1, 2, 2] };
    let source = vec![0.0; 64];
    let message = gelu::forward(&ctx, &shape, &Source::raw(&source), &mut [0.0; 63]).unwrap_err().to_string();
    assert_eq!(message, "output has 63 values, but the shape asks for 64");
    let mut target = vec![0.0; 64];
    let mut target = GradientTarget::overwrite(&mut target);
    assert!(gelu::backward(&ctx, &shape, &Source::raw(&source[1..]), &source, &mut target).is_err());
    assert!(gelu::backward(&ctx, &shape, &Source::raw(&source), &source[1..], &mut target).is_err());
    let (mut mean, mut variance) = ([0.0; 16], [0.0; 15]);
    let statistics = StatisticsMut { mean: &mut mean, variance: &mut variance };
    assert!(norm::merge_statistics(&shape, NormOver::Batch, statistics).is_err());
    assert!(norm::update_running(&shape, &mean, &mean, 0.1, &mut [0.0; 2], &mut [0.0; 3]).is_err());
}

//! Instance norm as plain loops, in f64.

use crate::conv::StatisticsMut;
use crate::layout::BlockedShape;
use crate::norm::{NormBackward, NormGradients};

/// Mean and biased variance per (sample, channel); padding channels get 0.
pub fn statistics(shape: &BlockedShape, data: &[f32], statistics: StatisticsMut<'_>) {
    statistics.mean.fill(0.0);
    statistics.variance.fill(0.0);
    let voxels = shape.voxels();
    for sample in 0..shape.batch {
        for channel in 0..shape.channels {
            let values = || (0..voxels).map(|voxel| f64::from(data[shape.index(sample, channel, voxel)]));
            let mean = values().sum::<f64>() / voxels as f64;
            let at = sample * shape.padded_channels() + channel;
            statistics.mean[at] = mean;
            statistics.variance[at] =
                values().map(|value| (value - mean).powi(2)).sum::<f64>() / voxels as f64;
        }
    }
}

/// Gradient through LeakyReLU and instance norm, see [`crate::norm::backward`].
pub fn norm_backward(
    shape: &BlockedShape,
    norm: &NormBackward<'_>,
    gradient: &mut [f32],
    out: NormGradients<'_>,
) {
    let voxels = shape.voxels();
    let (mut grad_gamma, mut grad_beta) = (vec![0.0_f64; shape.channels], vec![0.0_f64; shape.channels]);
    for sample in 0..shape.batch {
        for channel in 0..shape.channels {
            let at = sample * shape.padded_channels() + channel;
            let rstd = 1.0 / (norm.variance[at] + norm.eps).sqrt();
            let gamma = norm.gamma.map_or(1.0, |gamma| f64::from(gamma[channel]));
            let pair = |voxel: usize, gradient: &[f32]| {
                let index = shape.index(sample, channel, voxel);
                let normal = (f64::from(norm.raw[index]) - norm.mean[at]) * rstd;
                let activated = norm.raw[index].mul_add(norm.scale[at], norm.shift[at]) > 0.0;
                let slope = if activated { 1.0 } else { f64::from(norm.negative_slope) };
                (normal, f64::from(gradient[index]) * slope)
            };
            let (mut sum, mut dot) = (0.0, 0.0);
            for voxel in 0..voxels {
                let (normal, grad) = pair(voxel, gradient);
                sum += grad;
                dot += grad * normal;
            }
            grad_beta[channel] += sum;
            grad_gamma[channel] += dot;
            for voxel in 0..voxels {
                let (normal, grad) = pair(voxel, gradient);
                let value = gamma * rstd * (grad - (sum + normal * dot) / voxels as f64);
                gradient[shape.index(sample, channel, voxel)] = value as f32;
            }
        }
    }
    for (target, values) in [(out.gamma, grad_gamma), (out.beta, grad_beta)] {
        for (target, value) in target.into_iter().flatten().zip(values) {
            *target = value as f32;
        }
    }
}

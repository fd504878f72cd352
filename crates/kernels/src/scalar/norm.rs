//! Instance, batch and group norm as plain loops, in f64.

use crate::conv::StatisticsMut;
use crate::layout::BlockedShape;
use crate::norm::{NormBackward, NormGradients, NormOver};

/// Calls `visit` with the (sample, channel) pairs that share statistics, for each set of them.
fn for_each_set(shape: &BlockedShape, over: NormOver, mut visit: impl FnMut(&[(usize, usize)])) {
    match over {
        NormOver::Voxels => {
            (0..shape.batch).for_each(|n| (0..shape.channels).for_each(|c| visit(&[(n, c)])));
        }
        NormOver::Batch => {
            for c in 0..shape.channels {
                visit(&(0..shape.batch).map(|n| (n, c)).collect::<Vec<_>>());
            }
        }
        NormOver::Groups(groups) => {
            let size = shape.channels / groups;
            for (n, g) in (0..shape.batch).flat_map(|n| (0..groups).map(move |g| (n, g))) {
                visit(&(g * size..(g + 1) * size).map(|c| (n, c)).collect::<Vec<_>>());
            }
        }
    }
}

/// Mean and biased variance per (sample, channel); padding channels get 0.
pub fn statistics(shape: &BlockedShape, data: &[f32], statistics: StatisticsMut<'_>) {
    statistics_over(shape, NormOver::Voxels, data, statistics);
}

/// Mean and biased variance for each (sample, channel), over what `over` says; padding channels get 0.
pub fn statistics_over(shape: &BlockedShape, over: NormOver, data: &[f32], statistics: StatisticsMut<'_>) {
    statistics.mean.fill(0.0);
    statistics.variance.fill(0.0);
    let voxels = shape.voxels();
    for_each_set(shape, over, |set| {
        let values = || {
            let value = |n, c, voxel| f64::from(data[shape.index(n, c, voxel)]);
            set.iter().flat_map(move |&(n, c)| (0..voxels).map(move |voxel| value(n, c, voxel)))
        };
        let count = (set.len() * voxels) as f64;
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        for (n, c) in set {
            statistics.mean[n * shape.padded_channels() + c] = mean;
            statistics.variance[n * shape.padded_channels() + c] = variance;
        }
    });
}

/// Gradient through LeakyReLU and norm, see [`crate::norm::backward`].
pub fn norm_backward(
    shape: &BlockedShape,
    norm: &NormBackward<'_>,
    gradient: &mut [f32],
    out: NormGradients<'_>,
) {
    let voxels = shape.voxels();
    let gamma = |c: usize| norm.gamma.map_or(1.0, |gamma| f64::from(gamma[c]));
    let (mut grad_gamma, mut grad_beta) = (vec![0.0_f64; shape.channels], vec![0.0_f64; shape.channels]);
    for_each_set(shape, norm.over, |set| {
        // The normalised value, and the gradient with respect to the activation's input.
        let pair = |n: usize, c: usize, voxel: usize, gradient: &[f32]| {
            let (at, index) = (n * shape.padded_channels() + c, shape.index(n, c, voxel));
            let normal =
                (f64::from(norm.raw.get(index)) - norm.mean[at]) / (norm.variance[at] + norm.eps).sqrt();
            let activated = norm.raw.get(index).mul_add(norm.scale[at], norm.shift[at]) > 0.0;
            let slope = if activated { 1.0 } else { f64::from(norm.negative_slope) };
            (normal, f64::from(gradient[index]) * slope)
        };
        let (mut sum, mut dot) = (0.0, 0.0);
        for &(n, c) in set {
            for voxel in 0..voxels {
                let (normal, grad) = pair(n, c, voxel, gradient);
                grad_beta[c] += grad;
                grad_gamma[c] += grad * normal;
                sum += gamma(c) * grad;
                dot += gamma(c) * grad * normal;
            }
        }
        let count = (set.len() * voxels) as f64;
        for &(n, c) in set {
            let rstd = 1.0 / (norm.variance[n * shape.padded_channels() + c] + norm.eps).sqrt();
            for voxel in 0..voxels {
                let (normal, grad) = pair(n, c, voxel, gradient);
                let value = rstd * (gamma(c) * grad - (sum + normal * dot) / count);
                gradient[shape.index(n, c, voxel)] = value as f32;
            }
        }
    });
    for (target, values) in [(out.gamma, grad_gamma), (out.beta, grad_beta)] {
        for (target, value) in target.into_iter().flatten().zip(values) {
            *target = value as f32;
        }
    }
}

//! Instance norm: statistics, the scale and shift that a consumer applies on load, and the gradient through activation and norm.
//!
//! Forward: `y = leaky((x - mean) / sqrt(variance + eps) * gamma + beta)`, with mean and biased variance over the voxels of one
//! (sample, channel), as in PyTorch's `InstanceNorm3d` without running statistics. Statistics are f64.

#![allow(unsafe_code)]

pub(crate) mod rows;

use rows::{NormBlock, NormSums, norm_table};

use crate::conv::StatisticsMut;
use crate::conv::direct::rows::LaneStatistics;
use crate::conv::direct::{merge_statistics, row_table};
use crate::error::{check_length, check_slope};
use crate::layout::{BlockedShape, LANES, SharedMut};
use crate::{Context, KernelError};

/// Voxels of a task.
const PIECE: usize = 4096;
/// Voxels whose statistics are taken in f32 before they are merged in f64.
const RUN: usize = 128;

/// What the gradient through an instance norm and the activation after it needs.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward<'a> {
    /// Raw input of the norm, blocked.
    pub raw: &'a [f32],
    /// Scale from [`scale_shift`], per (sample, padded channel).
    pub scale: &'a [f32],
    /// Shift from [`scale_shift`], per (sample, padded channel).
    pub shift: &'a [f32],
    /// Mean per (sample, padded channel).
    pub mean: &'a [f64],
    /// Biased variance per (sample, padded channel).
    pub variance: &'a [f64],
    /// Weight of the norm per channel; none is 1.
    pub gamma: Option<&'a [f32]>,
    /// Added to the variance.
    pub eps: f64,
    /// Slope of the LeakyReLU after the norm; 1 is no activation.
    pub negative_slope: f32,
}

/// Receives the gradients of the norm's parameters (per channel, overwritten).
#[derive(Debug, Default)]
pub struct NormGradients<'a> {
    /// Gradient of the weight.
    pub gamma: Option<&'a mut [f32]>,
    /// Gradient of the bias.
    pub beta: Option<&'a mut [f32]>,
}

/// Mean and biased variance of a blocked tensor per (sample, channel), for tensors that no convolution has just written.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn statistics(
    ctx: &Context,
    shape: &BlockedShape,
    data: &[f32],
    statistics: StatisticsMut<'_>,
) -> Result<(), KernelError> {
    check_length("tensor", data.len(), shape.len())?;
    statistics.check(shape)?;
    let pieces = shape.voxels().div_ceil(PIECE);
    let table = row_table(ctx.level());
    let mut partial = ctx.statistics();
    let len = shape.batch * shape.blocks() * pieces;
    if partial.len() < len {
        partial.resize(len, LaneStatistics::EMPTY);
    }
    let shared = SharedMut::new(&mut partial[..len]);
    // Laid out as the convolution has it for its tiles: [sample][piece][block].
    ctx.pool().par_for(len, |_, task| {
        let (rest, block) = (task / shape.blocks(), task % shape.blocks());
        let (sample, piece) = (rest / pieces, rest % pieces);
        let first = sample * shape.blocks() + block;
        let count = PIECE.min(shape.voxels() - piece * PIECE);
        let values = &data[(first * shape.voxels() + piece * PIECE) * LANES..][..count * LANES];
        // SAFETY: each task has an entry of its own.
        let merged = unsafe { &mut shared.part(task, 1)[0] };
        *merged = LaneStatistics::EMPTY;
        for run in values.chunks(RUN * LANES) {
            // SAFETY: the run is not empty and has the length that is given; the level is one that the CPU has.
            unsafe { (table.statistics)(run.as_ptr(), run.len() / LANES, merged) };
        }
    });
    merge_statistics(&partial[..len], shape.batch, shape.blocks(), statistics);
    Ok(())
}

/// Scale and shift (both per (sample, padded channel)) such that `x * scale + shift` is the normalised value; padding channels get 0.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn scale_shift(
    shape: &BlockedShape,
    mean: &[f64],
    variance: &[f64],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    eps: f64,
    scale: &mut [f32],
    shift: &mut [f32],
) -> Result<(), KernelError> {
    let vector = shape.vector_len();
    check_length("mean", mean.len(), vector)?;
    check_length("variance", variance.len(), vector)?;
    check_length("scale", scale.len(), vector)?;
    check_length("shift", shift.len(), vector)?;
    check_parameter("gamma", gamma, shape)?;
    check_parameter("beta", beta, shape)?;
    let padded = shape.padded_channels();
    for at in 0..vector {
        let channel = at % padded;
        if channel >= shape.channels {
            (scale[at], shift[at]) = (0.0, 0.0);
            continue;
        }
        let factor = gamma.map_or(1.0, |gamma| f64::from(gamma[channel])) / (variance[at] + eps).sqrt();
        scale[at] = factor as f32;
        shift[at] = (beta.map_or(0.0, |beta| f64::from(beta[channel])) - mean[at] * factor) as f32;
    }
    Ok(())
}

/// Turns `gradient` (with respect to the activated output, blocked) in place into the gradient with respect to the raw input of the
/// norm, and writes the gradients of its parameters.
///
/// # Errors
/// If a length does not fit `shape` or the slope is outside of 0 to 1.
pub fn backward(
    ctx: &Context,
    shape: &BlockedShape,
    norm: &NormBackward<'_>,
    gradient: &mut [f32],
    parameters: NormGradients<'_>,
) -> Result<(), KernelError> {
    let vector = shape.vector_len();
    check_length("raw input", norm.raw.len(), shape.len())?;
    check_length("gradient", gradient.len(), shape.len())?;
    check_length("scale", norm.scale.len(), vector)?;
    check_length("shift", norm.shift.len(), vector)?;
    check_length("mean", norm.mean.len(), vector)?;
    check_length("variance", norm.variance.len(), vector)?;
    check_parameter("gamma", norm.gamma, shape)?;
    check_parameter("gradient of gamma", parameters.gamma.as_deref(), shape)?;
    check_parameter("gradient of beta", parameters.beta.as_deref(), shape)?;
    check_slope(norm.negative_slope)?;
    let voxels = shape.voxels();
    let pieces = voxels.div_ceil(PIECE);
    let blocks = shape.batch * shape.blocks();
    let table = norm_table(ctx.level());
    let mut sums = ctx.norm_sums();
    let len = blocks * pieces;
    if sums.len() < len {
        sums.resize(len, NormSums::default());
    }
    let range = |piece: usize, block: usize| {
        let count = PIECE.min(voxels - piece * PIECE);
        let first = (block * voxels + piece * PIECE) * LANES;
        first..first + count * LANES
    };
    let shared = SharedMut::new(&mut sums[..len]);
    let before = &*gradient;
    ctx.pool().par_for(len, |_, task| {
        let (block, piece) = (task / pieces, task % pieces);
        let range = range(piece, block);
        let (raw, gradient) = (&norm.raw[range.clone()], &before[range]);
        // SAFETY: each task has an entry of its own; both slices have the length that is given; the level is one that the CPU has.
        unsafe {
            let sums = &mut shared.part(task, 1)[0];
            *sums = NormSums::default();
            (table.sums)(
                raw.as_ptr(),
                gradient.as_ptr(),
                raw.len() / LANES,
                &norm.block(shape, block, None),
                sums,
            );
        }
    });
    // Pieces are added in their order; the first entry of a block then holds its total.
    for block in sums[..len].chunks_exact_mut(pieces) {
        for piece in 1..pieces {
            let other = block[piece];
            for lane in 0..LANES {
                block[0].gradient[lane] += other.gradient[lane];
                block[0].product[lane] += other.product[lane];
            }
        }
    }
    let sums = &sums[..len];
    let shared = SharedMut::new(gradient);
    ctx.pool().par_for(len, |_, task| {
        let (block, piece) = (task / pieces, task % pieces);
        let range = range(piece, block);
        let raw = &norm.raw[range.clone()];
        let constants = norm.block(shape, block, Some(&sums[block * pieces]));
        // SAFETY: each task has a range of its own; both have the length that is given; the level is one that the CPU has.
        unsafe {
            let gradient = shared.part(range.start, range.len());
            (table.write)(raw.as_ptr(), gradient.as_mut_ptr(), raw.len() / LANES, &constants);
        }
    });
    let total = |channel: usize, value: fn(&NormSums) -> &[f64; LANES]| {
        let of_sample = |sample: usize| &sums[(sample * shape.blocks() + channel / LANES) * pieces];
        (0..shape.batch).map(|sample| value(of_sample(sample))[channel % LANES]).sum::<f64>() as f32
    };
    for (channel, target) in parameters.gamma.into_iter().flatten().enumerate() {
        *target = total(channel, |sums| &sums.product);
    }
    for (channel, target) in parameters.beta.into_iter().flatten().enumerate() {
        *target = total(channel, |sums| &sums.gradient);
    }
    Ok(())
}

impl NormBackward<'_> {
    /// Constants of one block, counted over all samples; `sums` are those of the whole block, for the second pass.
    fn block(&self, shape: &BlockedShape, block: usize, sums: Option<&NormSums>) -> NormBlock {
        let zero = [0.0; LANES];
        let mut constants = NormBlock {
            scale: zero,
            shift: zero,
            mean: zero,
            rstd: zero,
            negative_slope: self.negative_slope,
            factor: zero,
            slant: zero,
            offset: zero,
        };
        let first = block % shape.blocks() * LANES;
        for lane in 0..LANES.min(shape.channels - first) {
            let at = block * LANES + lane;
            let rstd = 1.0 / (self.variance[at] + self.eps).sqrt();
            constants.scale[lane] = self.scale[at];
            constants.shift[lane] = self.shift[at];
            constants.mean[lane] = self.mean[at] as f32;
            constants.rstd[lane] = rstd as f32;
            if let Some(sums) = sums {
                let factor = rstd * self.gamma.map_or(1.0, |gamma| f64::from(gamma[first + lane]));
                constants.factor[lane] = factor as f32;
                constants.slant[lane] = (factor * rstd * sums.product[lane] / shape.voxels() as f64) as f32;
                constants.offset[lane] = (factor * sums.gradient[lane] / shape.voxels() as f64) as f32;
            }
        }
        constants
    }
}

fn check_parameter(
    what: &'static str,
    values: Option<&[f32]>,
    shape: &BlockedShape,
) -> Result<(), KernelError> {
    values.map_or(Ok(()), |values| check_length(what, values.len(), shape.channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{Affine, Source};
    use crate::{CpuLevel, layout, scalar};

    /// The gradient against central differences of the forward pass.
    #[test]
    fn gradient_matches_finite_differences() {
        let ctx = Context::new(CpuLevel::detect(), 2);
        let shape = BlockedShape { batch: 2, channels: 3, spatial: [1, 3, 4] };
        let value = |i: usize| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
        let plain: Vec<f32> = (0..shape.plain_len()).map(value).collect();
        let weight: Vec<f32> = (0..shape.plain_len()).map(|i| value(i * 3 + 5)).collect();
        let (gamma, beta) = ([1.2_f32, -0.7, 0.9], [0.1_f32, 0.3, -0.2]);
        let (eps, slope) = (1e-5, 0.1);
        let vector = shape.vector_len();
        let forward = |plain: &[f32]| {
            let mut raw = vec![0.0; shape.len()];
            layout::to_blocked(&ctx, &shape, plain, &mut raw).unwrap();
            let (mut mean, mut variance) = (vec![0.0; vector], vec![0.0; vector]);
            statistics(&ctx, &shape, &raw, StatisticsMut { mean: &mut mean, variance: &mut variance })
                .unwrap();
            let (mut scale, mut shift) = (vec![0.0; vector], vec![0.0; vector]);
            let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
            scale_shift(&shape, &mean, &variance, g, b, eps, &mut scale, &mut shift).unwrap();
            (raw, mean, variance, scale, shift)
        };
        let loss = |plain: &[f32]| -> f64 {
            let (raw, _, _, scale, shift) = forward(plain);
            let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope: slope });
            let out = scalar::materialise(&shape, &Source { data: &raw, affine });
            out.iter().zip(&weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (raw, mean, variance, scale, shift) = forward(&plain);
        let mut gradient = vec![0.0; shape.len()];
        layout::to_blocked(&ctx, &shape, &weight, &mut gradient).unwrap();
        let norm = NormBackward {
            raw: &raw,
            scale: &scale,
            shift: &shift,
            mean: &mean,
            variance: &variance,
            gamma: Some(&gamma),
            eps,
            negative_slope: slope,
        };
        let (mut grad_gamma, mut grad_beta) = ([0.0; 3], [0.0; 3]);
        let parameters = NormGradients { gamma: Some(&mut grad_gamma), beta: Some(&mut grad_beta) };
        backward(&ctx, &shape, &norm, &mut gradient, parameters).unwrap();
        for at in 0..plain.len() {
            let (mut up, mut down) = (plain.clone(), plain.clone());
            up[at] += 1e-3;
            down[at] -= 1e-3;
            let expected = (loss(&up) - loss(&down)) / 2e-3;
            let (sample, channel, voxel) = (at / 36, at / 12 % 3, at % 12);
            let found = f64::from(gradient[shape.index(sample, channel, voxel)]);
            assert!((found - expected).abs() < 5e-3, "{at}: {found} {expected}");
        }
        for channel in 0..3 {
            let (mut sum, mut dot) = (0.0, 0.0);
            for sample in 0..2 {
                for voxel in 0..12 {
                    let at = sample * 16 + channel;
                    let x = raw[shape.index(sample, channel, voxel)];
                    let pre = x * scale[at] + shift[at];
                    let grad =
                        weight[(sample * 3 + channel) * 12 + voxel] * if pre > 0.0 { 1.0 } else { slope };
                    sum += grad;
                    dot += grad * (pre - beta[channel]) / gamma[channel];
                }
            }
            assert!((grad_beta[channel] - sum).abs() < 1e-4 && (grad_gamma[channel] - dot).abs() < 1e-4);
        }
    }
}

//! Instance, batch and group norm: statistics, the scale and shift that a consumer applies on load, and the gradient through
//! activation and norm.
//!
//! Forward: `y = leaky((x - mean) / sqrt(variance + eps) * gamma + beta)`, with mean and biased variance over what [`NormOver`] says:
//! PyTorch's `InstanceNorm3d` without running statistics, `BatchNorm3d` and `GroupNorm`. Statistics are f64. Those of each
//! (sample, channel) come first, from the convolution or [`statistics`]; [`merge_statistics`] makes those of batch and group norm of
//! them. A batch norm that does not train takes its running statistics instead ([`use_running`]).

#![allow(unsafe_code)]

mod over;
pub(crate) mod rows;

pub use over::{NormOver, merge_statistics, update_running, use_running};

use rows::{NormBlock, NormSums, norm_table};

use crate::conv::StatisticsMut;
use crate::conv::direct::rows::LaneStatistics;
use crate::conv::direct::{merge_statistics as merge_tiles, row_table};
use crate::error::{check_length, check_slope};
use crate::layout::{BlockedShape, LANES};
use crate::memory::SharedMut;
use crate::{Context, KernelError, Values};

/// Voxels of a task.
const PIECE: usize = 4096;
/// Voxels whose statistics are taken in f32 before they are merged in f64.
const RUN: usize = 128;

/// What the gradient through a norm keeps from call to call.
#[derive(Debug, Default)]
struct GradientSums {
    /// Sums per lane of the tasks.
    sums: Vec<NormSums>,
    /// Means of them over the values that share statistics, per block.
    means: Vec<NormSums>,
}

/// What the gradient through a norm and the activation after it needs.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward<'a> {
    /// What the statistics were taken over.
    pub over: NormOver,
    /// Raw input of the norm, blocked.
    pub raw: Values<'a>,
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
    let mut partial = ctx.kept::<Vec<LaneStatistics>>();
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
    merge_tiles(&partial[..len], shape.batch, shape.blocks(), statistics);
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
    norm.over.check(shape)?;
    let voxels = shape.voxels();
    let pieces = voxels.div_ceil(PIECE);
    let blocks = shape.batch * shape.blocks();
    let table = norm_table(ctx.level());
    let mut kept = ctx.kept::<GradientSums>();
    let GradientSums { sums, means } = &mut *kept;
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
        let (raw, gradient) = (norm.raw.part(range.start, range.len()), &before[range]);
        // SAFETY: each task has an entry of its own; both slices have the length that is given; the level is one that the CPU has.
        unsafe {
            let sums = &mut shared.part(task, 1)[0];
            *sums = NormSums::default();
            let constants = norm.block(shape, block, &NormSums::default());
            table.sums(raw, gradient.as_ptr(), &constants, sums);
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
    norm.mean_terms(shape, sums, pieces, means);
    let shared = SharedMut::new(gradient);
    ctx.pool().par_for(len, |_, task| {
        let (block, piece) = (task / pieces, task % pieces);
        let range = range(piece, block);
        let raw = norm.raw.part(range.start, range.len());
        let constants = norm.block(shape, block, &means[block]);
        // SAFETY: each task has a range of its own; both have the length that is given; the level is one that the CPU has.
        unsafe {
            let gradient = shared.part(range.start, range.len());
            table.write(raw, gradient.as_mut_ptr(), &constants);
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
    fn gamma(&self, channel: usize) -> f64 {
        self.gamma.map_or(1.0, |gamma| f64::from(gamma[channel]))
    }

    /// Per block the means, over the values that share statistics, of the gradient with respect to the normalised values and of
    /// its products with them. `sums` has those of a block at its first piece.
    fn mean_terms(&self, shape: &BlockedShape, sums: &[NormSums], pieces: usize, means: &mut Vec<NormSums>) {
        means.clear();
        means.resize(shape.batch * shape.blocks(), NormSums::default());
        let count = self.over.count(shape) as f64;
        let place = |at: usize| (at / LANES, at % LANES);
        for set in self.over.sets(shape) {
            let (mut gradient, mut product) = (0.0, 0.0);
            for at in set.clone() {
                let ((block, lane), gamma) = (place(at), self.gamma(at % shape.padded_channels()));
                gradient += gamma * sums[block * pieces].gradient[lane];
                product += gamma * sums[block * pieces].product[lane];
            }
            for at in set {
                let (block, lane) = place(at);
                means[block].gradient[lane] = gradient / count;
                means[block].product[lane] = product / count;
            }
        }
    }

    /// Constants of one block, counted over all samples; `means` are for the second pass.
    fn block(&self, shape: &BlockedShape, block: usize, means: &NormSums) -> NormBlock {
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
            constants.factor[lane] = (rstd * self.gamma(first + lane)) as f32;
            constants.slant[lane] = (rstd * rstd * means.product[lane]) as f32;
            constants.offset[lane] = (rstd * means.gradient[lane]) as f32;
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

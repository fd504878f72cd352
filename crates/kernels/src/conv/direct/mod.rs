//! Direct convolution, forward and data gradient, by one algorithm.
//!
//! Both are sums over taps: forward, output j reads sources at `j * stride + tap - padding`; the data gradient at input `r + stride * j`
//! reads gradients at `j + (r + padding - tap) / stride` for the taps that divide evenly, which differ for each residue r. A [`Pass`]
//! describes one such sum per axis, so a strided data gradient is one pass per combination of residues, each a stride-1 convolution.
//!
//! The result is cut into tiles of rows (z, y). A task packs what its tile reads from up to a few blocks of summed channels into
//! scratch that fits into the L2 cache, with zeros around the image and the fused activation applied, as f32 or rounded to
//! bf16. Along x, scratch is sorted by the remainder of the stride, so the microkernel always reads neighbouring vectors. Then it
//! runs the microkernel over the tile for each group of result channels, and continues with the next blocks of summed channels,
//! adding to the result. Tiles follow from the shape alone, so results do not depend on the number of threads.

#![allow(unsafe_code)]

mod bias_gradient;
pub(crate) mod columns;
pub(crate) mod micro;
mod outer;
mod pass;
mod results;
pub(crate) mod rows;
mod task;
mod tiles;
pub(super) mod weight_gradient;

pub(crate) use bias_gradient::bias_gradient;
use micro::MicroTable;
use outer::OuterTable;
use pass::Pass;
use results::Output;
use rows::{LaneStatistics, RowTable};
use task::Job;
use tiles::{Input, Tiles};
use weight_gradient::WeightGradient;

use super::packed::SourceWeights;
use super::{ConvShape, DataWeights, SharedTarget, Source, StatisticsMut, WriteMode, start_with_bias};
use crate::layout::{LANES, padded};
use crate::memory::SharedMut;
use crate::{Context, CpuLevel};

/// The microkernels of a level.
pub(crate) fn micro_table(level: CpuLevel) -> &'static MicroTable {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512Bf16 => &micro::AVX512_BF16,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 => &micro::AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &micro::AVX2,
        _ => &micro::PORTABLE,
    }
}

/// The microkernels for weight gradients of a level.
fn outer_table(level: CpuLevel) -> &'static OuterTable {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => &outer::AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &outer::AVX2,
        _ => &outer::PORTABLE,
    }
}

/// The row passes of a level.
pub(crate) fn row_table(level: CpuLevel) -> &'static RowTable {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => &rows::AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &rows::AVX2,
        _ => &rows::PORTABLE,
    }
}

fn input<'a>(ctx: &Context, shape: &'a ConvShape, sources: &'a [Source<'a>]) -> Input<'a> {
    Input {
        sources,
        channels: &shape.source_channels,
        spatial: shape.input,
        blocks: shape.in_blocks(),
        rows: row_table(ctx.level()),
    }
}

/// Forward convolution; lengths have been checked. An output that is added to takes no bias. `padding` is that of `shape`, or none for the transposed convolution, whose
/// output size is the same.
pub(crate) fn forward(
    ctx: &Context,
    shape: &ConvShape,
    padding: [usize; 3],
    sources: &[Source<'_>],
    weights: SourceWeights<'_>,
    bias: Option<&[f32]>,
    output: SharedTarget<'_>,
    statistics: Option<StatisticsMut<'_>>,
) {
    let out = shape.output();
    let passes = [Pass::forward(shape, padding)];
    let mut start = ctx.partial();
    let start = start.at_least(padded(shape.out_channels));
    start_with_bias(start, bias);
    let start = (output.mode == WriteMode::Overwrite).then_some(&*start);
    let targets = [Output { data: output.data, blocks: out.blocks(), start }];
    let job = Job {
        input: input(ctx, shape, sources),
        weights,
        outputs: &targets,
        output_spatial: out.spatial,
        passes: &passes,
        micro: micro_table(ctx.level()),
    };
    let order = &weights.packed.order;
    let tiles = Tiles::new(&job.input, shape.batch, &passes, order.groups.len(), order.words);
    match statistics {
        None => job.run(ctx, &tiles, None),
        Some(statistics) => {
            let mut partial = ctx.kept::<Vec<LaneStatistics>>();
            let len = tiles.count() * out.blocks();
            if partial.len() < len {
                partial.resize(len, LaneStatistics::EMPTY);
            }
            job.run(ctx, &tiles, Some(SharedMut::new(&mut partial[..len])));
            merge_statistics(&partial[..len], shape.batch, out.blocks(), statistics);
        }
    }
}

/// Merges the statistics `[sample][tile][block]` of all tiles in their order.
pub(crate) fn merge_statistics(
    partial: &[LaneStatistics],
    batch: usize,
    blocks: usize,
    statistics: StatisticsMut<'_>,
) {
    let per_sample = partial.len() / batch;
    for sample in 0..batch {
        for block in 0..blocks {
            let mut merged = LaneStatistics::EMPTY;
            for part in partial[sample * per_sample..][..per_sample].iter().skip(block).step_by(blocks) {
                merged.merge(part);
            }
            let lanes = (sample * blocks + block) * LANES..(sample * blocks + block + 1) * LANES;
            statistics.mean[lanes.clone()].copy_from_slice(&merged.mean);
            statistics.variance[lanes].copy_from_slice(&merged.deviation.map(|sum| sum / merged.count));
        }
    }
}

/// Data gradient; lengths have been checked. `bias` is for the transposed convolution, whose forward direction this is: it is what the
/// sums of an overwritten target start from.
pub(crate) fn backward_data<'a>(
    ctx: &Context,
    shape: &ConvShape,
    padding: [usize; 3],
    grad_output: &Source<'_>,
    weights: &DataWeights,
    bias: Option<&[f32]>,
    grad_sources: impl Iterator<Item = SharedTarget<'a>>,
) {
    let out = shape.output();
    let passes = Pass::backward(shape, padding);
    let widest = shape.source_channels.iter().map(|channels| padded(*channels)).max().unwrap_or(0);
    let mut start = ctx.partial();
    let start = start.at_least(widest);
    start_with_bias(start, bias);
    let start = &*start;
    let targets: Vec<_> = grad_sources
        .zip(&shape.source_channels)
        .map(|(target, channels)| Output {
            start: (target.mode == WriteMode::Overwrite).then_some(start),
            data: target.data,
            blocks: crate::layout::blocks(*channels),
        })
        .collect();
    let job = Job {
        input: Input {
            sources: std::slice::from_ref(grad_output),
            channels: &[shape.out_channels],
            spatial: out.spatial,
            blocks: out.blocks(),
            rows: row_table(ctx.level()),
        },
        weights: weights.0.whole(),
        outputs: &targets,
        output_spatial: shape.input,
        passes: &passes,
        micro: micro_table(ctx.level()),
    };
    let order = &weights.0.order;
    let tiles = Tiles::new(&job.input, shape.batch, &passes, order.groups.len(), order.words);
    job.run(ctx, &tiles, None);
}

/// Weight gradient; lengths have been checked. `padding` as in [`forward`].
pub(crate) fn backward_weights(
    ctx: &Context,
    shape: &ConvShape,
    padding: [usize; 3],
    sources: &[Source<'_>],
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    let gradient = WeightGradient {
        shape,
        input: input(ctx, shape, sources),
        pass: &Pass::forward(shape, padding),
        grad_output,
        outer: outer_table(ctx.level()),
    };
    gradient.run(ctx, grad_weights);
}

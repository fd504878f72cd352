//! Logits of a span of voxels at a time: activated and packed, multiplied, and brought to the plain layout while they are in the cache.

#![allow(unsafe_code)]

use super::HeadShape;
use crate::Context;
use crate::conv::direct::columns::Columns;
use crate::conv::direct::micro::{Operands, Tap, Words};
use crate::conv::direct::rows::BlockAffine;
use crate::conv::direct::{micro_table, row_table};
use crate::conv::packed::Packed;
use crate::conv::{Source, start_with_bias};
use crate::layout::{LANES, padded};
use crate::memory::SharedMut;
use crate::values::ValuesMut;

/// Voxels of a span: 32 channels of it and 32 logits take 128 KiB.
const SPAN: usize = 512;
/// Values of a block of a span.
const BLOCK: usize = SPAN * LANES;

/// Computes all logits; lengths have been checked, `weights` are packed for the head.
pub(super) fn run(
    ctx: &Context,
    shape: &HeadShape,
    source: &Source<'_>,
    weights: &Packed,
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let (blocks, voxels) = (shape.source.blocks(), shape.source.voxels());
    let spans = voxels.div_ceil(SPAN);
    let (rows, micro) = (row_table(ctx.level()), micro_table(ctx.level()));
    let mut start = ctx.partial();
    let start = start.at_least(padded(shape.out_channels));
    start_with_bias(start, bias);
    let start = &*start;
    let parts = SharedMut::new(output);
    ctx.pool().par_for(shape.source.batch * spans, |thread, task| {
        let (sample, first) = (task / spans, task % spans * SPAN);
        let count = SPAN.min(voxels - first);
        let mut scratch = ctx.scratch(thread);
        let (packed, logits) = scratch.at_least((blocks + 2) * BLOCK).split_at_mut(blocks * BLOCK);
        for block in 0..blocks {
            let at = sample * blocks + block;
            let from = source.data.part((at * voxels + first) * LANES, count * LANES);
            let to = &mut packed[block * BLOCK..][..count * LANES];
            // SAFETY: both slices have `count` vectors; `BlockAffine::of` points to 16 values each; the table is that of a
            // level that the CPU has.
            unsafe {
                rows.pack(from, ValuesMut::F32(to), count, LANES, BlockAffine::of(source, at));
            }
        }
        for group in &weights.order.groups {
            let kernels = micro.of(Words::F32, group.blocks)[0];
            let weights_block = weights.order.block_stride(group);
            let weights = &weights.data[group.offset..][..blocks * weights_block];
            let start = &start[group.channel..][..group.blocks * LANES];
            let mut x = 0;
            for columns in Columns::new(count, kernels.len()) {
                let operands = Operands {
                    source: packed[x * LANES..].as_ptr(),
                    source_row: 0,
                    source_block: BLOCK,
                    blocks,
                    taps: &[Tap::default()],
                    weights: weights.as_ptr(),
                    weights_block,
                    output: logits[x * LANES..].as_mut_ptr(),
                    output_column: LANES,
                    output_row: 0,
                    output_block: BLOCK,
                    start: start.as_ptr(),
                };
                // SAFETY: positions `x..x + columns` lie in the span, of which packed voxels and logits hold all blocks; weights and
                // start cover the group; the table is that of a level that the CPU has.
                unsafe { kernels[columns - 1](&operands) };
                x += columns;
            }
            for channel in 0..group.channels {
                let plain = (sample * shape.out_channels + group.channel + channel) * voxels + first;
                // SAFETY: each task writes its own voxels.
                let out = unsafe { parts.part(plain, count) };
                let lane = &logits[channel / LANES * BLOCK + channel % LANES..];
                for (value, logit) in out.iter_mut().zip(lane.iter().step_by(LANES)) {
                    *value = *logit;
                }
            }
        }
    });
}

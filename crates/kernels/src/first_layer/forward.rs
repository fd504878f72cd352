//! Forward convolution of a plain image.

use super::plain::{PlainTiles, groups};
use crate::Context;
use crate::bf16::{self, Piece};
use crate::conv::direct::columns::Columns;
use crate::conv::direct::micro::{Operands, Tap};
use crate::conv::direct::rows::LaneStatistics;
use crate::conv::direct::{merge_statistics, micro_table, row_table};
use crate::conv::{ConvShape, StatisticsMut, start_with_bias};
use crate::layout::{LANES, clear_padding, padded};
use crate::memory::SharedMut;
use crate::values::SharedValues;

/// Lengths have been checked.
pub(super) fn run(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: SharedValues<'_>,
    statistics: Option<StatisticsMut<'_>>,
) {
    let out = shape.output();
    let tiles = PlainTiles::new(shape);
    let per_channel = shape.in_channels() * shape.taps();
    let width = padded(shape.out_channels);
    let mut partial = ctx.partial();
    let (start, packed) = partial.at_least(width * (per_channel + 1)).split_at_mut(width);
    start_with_bias(start, bias);
    pack(shape, weights, packed);
    let (start, packed) = (&*start, &*packed);

    let mut partial_statistics = ctx.kept::<Vec<LaneStatistics>>();
    let len = if statistics.is_some() { tiles.count() * out.blocks() } else { 0 };
    if partial_statistics.len() < len {
        partial_statistics.resize(len, LaneStatistics::EMPTY);
    }
    let shared_statistics = SharedMut::new(&mut partial_statistics[..len]);
    let (micro, rows) = (micro_table(ctx.level()), row_table(ctx.level()));
    let mut all_taps = ctx.kept::<[Vec<Tap>; 2]>();
    for (blocks, taps) in (1..).zip(all_taps.iter_mut()) {
        tiles.list_taps(blocks * LANES, taps);
    }
    let all_taps = &*all_taps;
    let [_, size_y, size_x] = out.spatial;
    let voxels = out.voxels();
    // Rows of both blocks of a group until they are rounded.
    let rows_len = if matches!(output, SharedValues::Bf16(_)) { 2 * size_x * LANES } else { 0 };
    ctx.pool().par_for(tiles.count(), |thread, index| {
        let tile = tiles.tile(index);
        let mut scratch = ctx.scratch(thread);
        let (rounded, scratch) = scratch.at_least(rows_len + tiles.scratch_len()).split_at_mut(rows_len);
        tiles.pack(&tile, input, scratch);
        for group in groups(out.blocks(), per_channel) {
            let kernels = micro.plain[group.blocks - 1];
            let taps = &all_taps[group.blocks - 1];
            let mut statistics = [LaneStatistics::EMPTY; 2];
            for row in 0..tile.rows {
                let first = (tile.z * size_y + tile.first_row + row) * size_x;
                let block = tile.sample * out.blocks() + group.block;
                let (result, result_block) = match output {
                    // SAFETY: the row lies in the blocks of the group, and only this task writes it.
                    SharedValues::F32(output) => unsafe {
                        (output.as_mut_ptr().add((block * voxels + first) * LANES), voxels * LANES)
                    },
                    SharedValues::Bf16(_) => (rounded.as_mut_ptr(), size_x * LANES),
                };
                let mut x = 0;
                for columns in Columns::new(size_x, kernels.len()) {
                    let operands = Operands {
                        source: scratch[row * tiles.row_step() + x..].as_ptr(),
                        source_row: 0,
                        source_block: 0,
                        blocks: 1,
                        taps,
                        weights: packed[group.offset..].as_ptr(),
                        weights_block: 0,
                        // SAFETY: the columns lie in the row.
                        output: unsafe { result.add(x * LANES) },
                        output_column: LANES,
                        output_row: 0,
                        output_block: result_block,
                        start: start[group.block * LANES..].as_ptr(),
                    };
                    // SAFETY: every tap of every position of the tile lies in scratch; the group has weights for every tap and
                    // a start for every channel; the positions lie in the output, which is written by this task alone; the
                    // level is one that the CPU has.
                    unsafe { kernels[columns - 1](&operands) };
                    x += columns;
                }
                let used = LANES.min(shape.out_channels - (group.block + group.blocks - 1) * LANES);
                if used < LANES {
                    // SAFETY: the row of the last block was just written by this task.
                    unsafe {
                        let values = result.add((group.blocks - 1) * result_block);
                        clear_padding(values, size_x, LANES, used);
                    }
                }
                if len > 0 {
                    for (within, statistics) in statistics[..group.blocks].iter_mut().enumerate() {
                        // SAFETY: the row was just written by this task.
                        unsafe { (rows.statistics)(result.add(within * result_block), size_x, statistics) };
                    }
                }
                if let SharedValues::Bf16(output) = output {
                    for within in 0..group.blocks {
                        let place = ((block + within) * voxels + first) * LANES;
                        // SAFETY: the row was just written; its place lies in the blocks of the group, and only this task
                        // writes it; the level is one that the CPU has.
                        unsafe {
                            let from = result.add(within * result_block);
                            let to = output.as_mut_ptr().add(place);
                            bf16::round(ctx.level(), &Piece { from, to, count: size_x * LANES });
                        }
                    }
                }
            }
            if len > 0 {
                // SAFETY: only this task writes the entries of its tile.
                let target =
                    unsafe { shared_statistics.part(index * out.blocks() + group.block, group.blocks) };
                target.copy_from_slice(&statistics[..group.blocks]);
            }
        }
    });
    if let Some(statistics) = statistics {
        merge_statistics(&partial_statistics[..len], shape.batch, out.blocks(), statistics);
    }
}

/// Packs natural weights as `[group][channel, tap][16 or 32 output channels]`, zeros for padding.
fn pack(shape: &ConvShape, weights: &[f32], packed: &mut [f32]) {
    let per_channel = shape.in_channels() * shape.taps();
    packed.fill(0.0);
    for group in groups(shape.out_blocks(), per_channel) {
        let width = group.blocks * LANES;
        let first = group.block * LANES;
        for channel in 0..width.min(shape.out_channels - first) {
            let natural = &weights[(first + channel) * per_channel..][..per_channel];
            for (tap, weight) in natural.iter().enumerate() {
                packed[group.offset + tap * width + channel] = *weight;
            }
        }
    }
}

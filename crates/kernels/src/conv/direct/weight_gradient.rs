//! Weight gradient of the direct convolution: for each tap, the sum over positions of source value times output gradient.
//!
//! The tiles of all samples are cut into a fixed number of parts of consecutive tiles. A task sums one part for one chunk of source
//! blocks and some of the groups of output channels, into sums of its own in the order of packed weights. The parts are then added in
//! their order and written in natural order. Parts also keep f32 sums short: a sum over all positions would lose digits.

use super::outer::{Outer, OuterTable};
use super::pass::Pass;
use super::tiles::{Input, Tile, Tiles};
use crate::Context;
use crate::conv::ConvShape;
use crate::conv::weights::{Group, Order};
use crate::layout::{LANES, SharedMut};

/// Tasks to aim for.
const WANTED_TASKS: usize = 32;
/// Sums of all parts together, in values.
const MAX_PARTIAL: usize = (32 << 20) / 4;
/// Positions of a microkernel call at least, so that loading and storing the sums does not count.
const POSITIONS: usize = 64;

pub(super) struct WeightGradient<'a> {
    pub(super) shape: &'a ConvShape,
    pub(super) input: Input<'a>,
    pub(super) pass: &'a Pass,
    pub(super) grad_output: &'a [f32],
    pub(super) outer: &'static OuterTable,
}

/// A group of output channels and one source block in scratch.
struct Pair<'a> {
    group: &'a Group,
    scratch: &'a [f32],
}

impl WeightGradient<'_> {
    /// Writes the gradient in natural order.
    pub(super) fn run(&self, ctx: &Context, grad_weights: &mut [f32]) {
        let order = Order::forward(self.shape);
        let groups = &order.groups;
        let passes = std::slice::from_ref(self.pass);
        let tiles = Tiles::for_weights(&self.input, self.shape.batch, passes, groups.len());
        let chunks = self.input.blocks.div_ceil(tiles.chunk);
        // Sharing out groups costs a second packing of the tile, a further part costs a pass over all sums, which is more.
        let mut shares = 1;
        while chunks * shares < WANTED_TASKS && shares * 2 <= groups.len() {
            shares *= 2;
        }
        let parts =
            WANTED_TASKS.div_ceil(chunks * shares).min(MAX_PARTIAL / order.len).clamp(1, tiles.count());
        let mut partial = ctx.partial();
        let partial = partial.at_least(parts * order.len);
        let sums = SharedMut::new(partial);
        ctx.pool().par_for(parts * chunks * shares, |thread, task| {
            let (part, chunk, share) = (task / (chunks * shares), task / shares % chunks, task % shares);
            let groups = &groups[groups.len() * share / shares..groups.len() * (share + 1) / shares];
            let first_block = chunk * tiles.chunk;
            let count = tiles.chunk.min(self.input.blocks - first_block);
            let place = |group: &Group| {
                let stride = order.block_stride(group);
                (part * order.len + group.offset + first_block * stride, stride)
            };
            for group in groups {
                let (start, stride) = place(group);
                // SAFETY: only this task uses the sums of its part, groups and blocks.
                unsafe { sums.part(start, count * stride) }.fill(0.0);
            }
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(tiles.scratch_len());
            for index in tiles.count() * part / parts..tiles.count() * (part + 1) / parts {
                let tile = tiles.tile(index);
                for within in 0..count {
                    let scratch = &mut scratch[within * tiles.scratch_block()..];
                    self.input.pack(&tiles, &tile, first_block + within, scratch);
                }
                for group in groups {
                    let (start, stride) = place(group);
                    for within in 0..count {
                        // SAFETY: as above.
                        let sums = unsafe { sums.part(start + within * stride, stride) };
                        let pair = Pair { group, scratch: &scratch[within * tiles.scratch_block()..] };
                        self.sum_tile(&tiles, &tile, &pair, sums);
                    }
                }
            }
        });
        reduce(ctx, self.shape, &order, &partial[..parts * order.len], grad_weights);
    }

    /// Adds a tile's contributions to the sums `[tap][16][output channels]` of one pair of blocks.
    fn sum_tile(&self, tiles: &Tiles, tile: &Tile, pair: &Pair<'_>, sums: &mut [f32]) {
        let out = self.shape.output();
        let [size_z, size_y, size_x] = out.spatial;
        let [axis_z, axis_y, axis_x] = &self.pass.axes;
        let [_, kernel_y, kernel_x] = self.pass.kernel;
        let voxels = out.voxels();
        let (group, scratch) = (pair.group, pair.scratch);
        let width = group.blocks * LANES;
        let kernel = if group.blocks == 2 { self.outer.wide } else { self.outer.narrow };
        let block = tile.sample * out.blocks() + group.block;
        let gradient = &self.grad_output[block * voxels * LANES..][..group.blocks * voxels * LANES];
        let place = |axis: usize, offset: isize| (offset - tiles.lowest[axis]) as usize;
        let rows_at_once = POSITIONS.div_ceil(size_x);
        debug_assert!(tile.first[0] + tile.size[0] <= size_z && tile.first[1] + tile.size[1] <= size_y);
        for z in 0..tile.size[0] {
            for y in (0..tile.size[1]).step_by(rows_at_once) {
                let rows = rows_at_once.min(tile.size[1] - y);
                let row = ((tile.first[0] + z) * size_y + tile.first[1] + y) * size_x;
                for tap_z in axis_z.inside(tile.first[0] + z, self.input.spatial[0]) {
                    for tap_y in &axis_y.taps {
                        let source_row = (z * axis_z.step + place(0, tap_z.offset)) * tiles.span[1]
                            + y * axis_y.step
                            + place(1, tap_y.offset);
                        for tap_x in &axis_x.taps {
                            let source = source_row * tiles.scratch_row()
                                + tiles.scratch_column(place(2, tap_x.offset));
                            let tap = (tap_z.tap * kernel_y + tap_y.tap) * kernel_x + tap_x.tap;
                            let operands = Outer {
                                source: scratch[source..].as_ptr(),
                                source_row: axis_y.step * tiles.scratch_row(),
                                gradient: gradient[row * LANES..].as_ptr(),
                                gradient_row: size_x * LANES,
                                gradient_block: voxels * LANES,
                                rows,
                                columns: size_x,
                                sums: sums[tap * LANES * width..][..LANES * width].as_mut_ptr(),
                            };
                            // SAFETY: the rows lie within the tile and so do the gradient's; every tap of every position of
                            // the tile lies in scratch; the sums of a tap are 16 x width values; the table is that of a
                            // level that the CPU has.
                            unsafe { kernel(&operands) };
                        }
                    }
                }
            }
        }
    }
}

/// Adds the parts in their order and writes natural weights.
pub(in crate::conv) fn reduce(
    ctx: &Context,
    shape: &ConvShape,
    order: &Order,
    partial: &[f32],
    grad_weights: &mut [f32],
) {
    let (taps, in_channels) = (shape.taps(), shape.in_channels());
    let target = SharedMut::new(grad_weights);
    ctx.pool().par_for(order.groups.len() * order.summed.len(), |_, task| {
        let (group, index) = (&order.groups[task / order.summed.len()], task % order.summed.len());
        let summed = &order.summed[index];
        let width = group.blocks * LANES;
        let first = group.offset + index * order.block_stride(group);
        for result in 0..group.channels {
            let start = ((group.channel + result) * in_channels + summed.channel) * taps;
            // SAFETY: each task writes the weights of its own pair of blocks.
            let weights = unsafe { target.part(start, summed.channels * taps) };
            weights.fill(0.0);
            for sums in partial.chunks_exact(order.len) {
                let sums = &sums[first..];
                for (sum, weights) in weights.chunks_exact_mut(taps).enumerate() {
                    for (tap, weight) in weights.iter_mut().enumerate() {
                        *weight += sums[(tap * LANES + sum) * width + result];
                    }
                }
            }
        }
    });
}

//! Weight gradient of the direct convolution: for each tap, the sum over positions of source value times output gradient.
//!
//! The tiles of all samples are cut into a fixed number of parts of consecutive tiles. A task sums one part for one block of source
//! channels and two groups of output channels, in scratch: packing a tile once more for the next groups costs less than sums that do
//! not fit into the cache. The parts are then added in their order and written in natural order. Parts also keep f32 sums short: a
//! sum over all positions would lose digits.

use super::outer::{Outer, OuterTable};
use super::pass::Pass;
use super::tiles::{Input, Tile, Tiles};
use crate::Context;
use crate::conv::ConvShape;
use crate::conv::natural::NaturalGradient;
use crate::conv::packed::{Group, Order};
use crate::layout::LANES;
use crate::memory::SharedMut;

/// Tasks to aim for.
const WANTED_TASKS: usize = 32;
/// Groups of output channels that share a packed tile: the sums of a 3x3x3 kernel take 55 KB of the cache for each.
const GROUPS_AT_ONCE: usize = 2;
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

impl WeightGradient<'_> {
    /// Writes the gradient in natural order.
    pub(super) fn run(&self, ctx: &Context, grad_weights: &mut [f32]) {
        let order = Order::forward(self.shape);
        let passes = std::slice::from_ref(self.pass);
        let tiles = Tiles::for_weights(&self.input, self.shape.batch, passes, order.groups.len());
        let chunks = order.groups.len().div_ceil(GROUPS_AT_ONCE);
        let tasks = chunks * self.input.blocks;
        let parts = WANTED_TASKS.div_ceil(tasks).min(MAX_PARTIAL / order.len).clamp(1, tiles.count());
        let mut partial = ctx.partial();
        let partial = partial.at_least(if parts > 1 { parts * order.len } else { 0 });
        let results = SharedMut::new(&mut *partial);
        let gradient = NaturalGradient::new(self.shape, &order, grad_weights);
        ctx.pool().par_for(parts * tasks, |thread, task| {
            // Chunks first: their weights lie far apart, so that threads do not write side by side.
            let (part, block, chunk) = (task / tasks, task % tasks / chunks, task % chunks);
            let first = chunk * GROUPS_AT_ONCE;
            let groups = &order.groups[first..order.groups.len().min(first + GROUPS_AT_ONCE)];
            let len = groups.iter().map(|group| order.block_stride(group)).sum();
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(len + tiles.scratch_len());
            let (sums, packed) = scratch.split_at_mut(len);
            let first_tile = tiles.count() * part / parts;
            for index in first_tile..tiles.count() * (part + 1) / parts {
                let tile = tiles.tile(index);
                self.input.pack(&tiles, &tile, block, packed);
                let mut sums = &mut *sums;
                for group in groups {
                    let (own, rest) = sums.split_at_mut(order.block_stride(group));
                    self.sum_tile(&tiles, &tile, group, packed, own, index > first_tile);
                    sums = rest;
                }
            }
            let mut sums = &*sums;
            for group in groups {
                let (own, rest) = sums.split_at(order.block_stride(group));
                // SAFETY: each task writes the weights of its own groups and block, or the results of its own part of them.
                unsafe {
                    if parts == 1 {
                        gradient.write(group, block, std::iter::once(own));
                    } else {
                        let first = part * order.len + group.offset + block * own.len();
                        results.part(first, own.len()).copy_from_slice(own);
                    }
                }
                sums = rest;
            }
        });
        if parts > 1 {
            gradient.add_parts(ctx, partial);
        }
    }

    /// Sums a tile's contributions `[tap][16][output channels]` for one group and one source block, packed in scratch; `add`: to what the
    /// sums are.
    fn sum_tile(
        &self,
        tiles: &Tiles,
        tile: &Tile,
        group: &Group,
        scratch: &[f32],
        sums: &mut [f32],
        add: bool,
    ) {
        let out = self.shape.output();
        let [size_z, size_y, size_x] = out.spatial;
        let [axis_z, axis_y, axis_x] = &self.pass.axes;
        let [_, kernel_y, kernel_x] = self.pass.kernel;
        let voxels = out.voxels();
        let width = group.blocks * LANES;
        let kernel = if group.blocks == 2 { self.outer.wide } else { self.outer.narrow };
        let block = tile.sample * out.blocks() + group.block;
        let gradient = &self.grad_output[block * voxels * LANES..][..group.blocks * voxels * LANES];
        let place = |axis: usize, offset: isize| (offset - tiles.lowest[axis]) as usize;
        let rows_at_once = POSITIONS.div_ceil(size_x).min(tile.size[1]);
        let planes_at_once = POSITIONS.div_ceil(rows_at_once * size_x);
        let source_plane = tiles.span[1] * tiles.scratch_row();
        debug_assert!(tile.first[0] + tile.size[0] <= size_z && tile.first[1] + tile.size[1] <= size_y);
        for first_z in (0..tile.size[0]).step_by(planes_at_once) {
            let planes = first_z..tile.size[0].min(first_z + planes_at_once);
            for y in (0..tile.size[1]).step_by(rows_at_once) {
                let rows = rows_at_once.min(tile.size[1] - y);
                let add = add || first_z > 0 || y > 0;
                for tap_z in &axis_z.taps {
                    // Planes whose source plane lies in the image.
                    let is_inside =
                        |z: &usize| axis_z.is_inside(tile.first[0] + z, tap_z, self.input.spatial[0]);
                    let Some(z) = planes.clone().find(is_inside) else {
                        if !add {
                            let taps = kernel_y * kernel_x * LANES * width;
                            sums[tap_z.tap * taps..][..taps].fill(0.0);
                        }
                        continue;
                    };
                    let planes = (z..planes.end).take_while(is_inside).count();
                    let row = ((tile.first[0] + z) * size_y + tile.first[1] + y) * size_x;
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
                                source_plane: axis_z.step * source_plane,
                                gradient: gradient[row * LANES..].as_ptr(),
                                gradient_row: size_x * LANES,
                                gradient_plane: size_y * size_x * LANES,
                                gradient_block: voxels * LANES,
                                planes,
                                rows,
                                columns: size_x,
                                sums: sums[tap * LANES * width..][..LANES * width].as_mut_ptr(),
                                add,
                            };
                            // SAFETY: the rows lie within the tile and so do the gradient's; every tap of every position of
                            // the tile whose source plane lies in the image lies in scratch; the sums of a tap are 16 x width
                            // values; the table is that of a level that the CPU has.
                            unsafe { kernel(&operands) };
                        }
                    }
                }
            }
        }
    }
}

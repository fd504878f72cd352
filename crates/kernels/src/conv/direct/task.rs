//! The loops around the microkernel.

use super::columns::Columns;
use super::micro::{MicroTable, Operands, Tap};
use super::pass::{Axis, Pass};
use super::rows::LaneStatistics;
use super::tiles::{Input, Tile, Tiles};
use crate::Context;
use crate::conv::weights::{Group, SourceWeights};
use crate::layout::{LANES, SharedMut, clear_padding};

/// Most taps of a kernel: 7 x 7 x 7.
const MAX_TAPS: usize = 343;
/// Result tensors of a job.
pub(super) struct Output<'a> {
    pub(super) data: SharedMut<'a, f32>,
    /// Blocks per sample.
    pub(super) blocks: usize,
    /// What sums start from, per padded channel; none adds to what the tensor holds.
    pub(super) start: Option<&'a [f32]>,
}

/// A convolution as [`super`] describes it.
pub(super) struct Job<'a> {
    pub(super) input: Input<'a>,
    pub(super) weights: SourceWeights<'a>,
    pub(super) outputs: &'a [Output<'a>],
    pub(super) output_spatial: [usize; 3],
    pub(super) passes: &'a [Pass],
    pub(super) micro: &'static MicroTable,
}

impl Job<'_> {
    /// Runs all tasks. `statistics` is `[tile][result block]` and is overwritten.
    pub(super) fn run(
        &self,
        ctx: &Context,
        tiles: &Tiles,
        statistics: Option<SharedMut<'_, LaneStatistics>>,
    ) {
        let groups = &self.weights.packed.order.groups;
        ctx.pool().par_for(tiles.count() * tiles.shares, |thread, task| {
            let (index, share) = (task / tiles.shares, task % tiles.shares);
            let groups =
                &groups[groups.len() * share / tiles.shares..groups.len() * (share + 1) / tiles.shares];
            let tile = tiles.tile(index);
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(tiles.scratch_len());
            let all_blocks = self.outputs[0].blocks;
            // SAFETY: this task alone writes the statistics of its groups' blocks; groups are consecutive blocks.
            let mut statistics = statistics.as_ref().map(|statistics| unsafe {
                let count = groups.iter().map(|group| group.blocks).sum();
                let part = statistics.part(index * all_blocks + groups[0].block, count);
                part.fill(LaneStatistics::EMPTY);
                part
            });
            for block in (0..self.input.blocks).step_by(tiles.chunk) {
                let count = tiles.chunk.min(self.input.blocks - block);
                for within in 0..count {
                    self.input.pack(
                        tiles,
                        &tile,
                        block + within,
                        &mut scratch[within * tiles.scratch_block()..],
                    );
                }
                let is_last = block + count == self.input.blocks;
                for group in groups {
                    let chunk = Chunk { group, block, count, scratch };
                    let statistics = statistics
                        .as_deref_mut()
                        .filter(|_| is_last)
                        .map(|all| &mut all[group.block - groups[0].block..][..group.blocks]);
                    self.multiply(tiles, &tile, &chunk, statistics);
                }
            }
        });
    }

    /// Runs the microkernel over all positions of a tile, in all passes, for one group and one chunk of summed blocks.
    fn multiply(
        &self,
        tiles: &Tiles,
        tile: &Tile,
        chunk: &Chunk<'_>,
        mut statistics: Option<&mut [LaneStatistics]>,
    ) {
        let group = chunk.group;
        let output = &self.outputs[group.source];
        let [_, size_y, size_x] = self.output_spatial;
        let voxels: usize = self.output_spatial.iter().product();
        let width = group.blocks * LANES;
        let block = tile.sample * output.blocks + group.block;
        // SAFETY: the group's blocks lie within the tensor; rows are written by one task only.
        let group_output = unsafe { output.data.as_mut_ptr().add(block * voxels * LANES) };
        let start = match output.start {
            Some(start) if chunk.block == 0 => start[group.block * LANES..][..width].as_ptr(),
            _ => std::ptr::null(),
        };
        let kernels = if group.blocks == 2 { &self.micro.wide } else { &self.micro.narrow };
        let SourceWeights { packed, first_block } = self.weights;
        let weights_block = packed.order.block_stride(group);
        let first = group.offset + (first_block + chunk.block) * weights_block;
        let weights = &packed.data[first..][..chunk.count * weights_block];
        let is_last = chunk.block + chunk.count == self.input.blocks;
        let mut taps = [Tap::default(); MAX_TAPS];
        // All passes over a row before the next row: their results interleave, so they share cache lines and pages. Rows are
        // taken in pairs if they are short.
        let widest = self.passes.iter().map(|pass| pass.axes[2].count).max().unwrap_or(0);
        let row_step = if widest <= kernels[1].len() { 2 } else { 1 };
        for z in 0..tile.size[0] {
            for y in (0..tile.size[1]).step_by(row_step) {
                for pass in self.passes {
                    let [axis_z, axis_y, axis_x] = &pass.axes;
                    let position = [tile.first[0] + z, tile.first[1] + y];
                    let rows = row_step.min(tile.size[1] - y).min(axis_y.count.saturating_sub(position[1]));
                    if rows == 0 || position[0] >= axis_z.count {
                        continue;
                    }
                    let count = self.list_taps(tiles, pass, position, rows == 2, width, &mut taps);
                    let result_z = axis_z.first + axis_z.spacing * position[0];
                    let result_y = axis_y.first + axis_y.spacing * position[1];
                    let row = (result_z * size_y + result_y) * size_x + axis_x.first;
                    let scratch_row =
                        (z * axis_z.step * tiles.span[1] + y * axis_y.step) * tiles.scratch_row();
                    let mut x = 0;
                    for chunk_columns in Columns::new(axis_x.count, kernels[0].len()) {
                        let operands = Operands {
                            source: chunk.scratch[scratch_row + x * LANES..].as_ptr(),
                            source_row: axis_y.step * tiles.scratch_row(),
                            source_block: tiles.scratch_block(),
                            blocks: chunk.count,
                            taps: &taps[..count],
                            weights: weights.as_ptr(),
                            weights_block,
                            // SAFETY: the row and column lie within the result block.
                            output: unsafe { group_output.add((row + x * axis_x.spacing) * LANES) },
                            output_column: axis_x.spacing * LANES,
                            output_row: axis_y.spacing * size_x * LANES,
                            output_block: voxels * LANES,
                            start,
                        };
                        debug_assert!(
                            x + chunk_columns <= axis_x.count && chunk_columns <= kernels[rows - 1].len()
                        );
                        // SAFETY: taps are inside of the tile's scratch for every position of the tile, weights cover
                        // `count` blocks of all taps, `start` covers the group, positions lie in the output, which is
                        // written by this task alone; the table is that of a level that the CPU has.
                        unsafe { kernels[rows - 1][chunk_columns - 1](&operands) };
                        x += chunk_columns;
                    }
                    if is_last && group.padding() > 0 {
                        for row in (0..rows).map(|r| row + r * axis_y.spacing * size_x) {
                            // SAFETY: the row was just written by this task.
                            unsafe {
                                let values = group_output.add(((group.blocks - 1) * voxels + row) * LANES);
                                clear_padding(
                                    values,
                                    axis_x.count,
                                    axis_x.spacing * LANES,
                                    LANES - group.padding(),
                                );
                            }
                        }
                    }
                    if let Some(statistics) = &mut statistics {
                        for (within, statistics) in statistics.iter_mut().enumerate() {
                            for row in (0..rows).map(|r| row + r * axis_y.spacing * size_x) {
                                // SAFETY: the row was just written by this task. Statistics are taken forward only, where
                                // rows are contiguous.
                                unsafe {
                                    let values = group_output.add((within * voxels + row) * LANES);
                                    (self.input.rows.statistics)(values, axis_x.count, statistics);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lists the taps of the row at `position` (z, y): those inside of the image, along y all of them if `all_rows`.
    fn list_taps(
        &self,
        tiles: &Tiles,
        pass: &Pass,
        position: [usize; 2],
        all_rows: bool,
        width: usize,
        taps: &mut [Tap; MAX_TAPS],
    ) -> usize {
        let [_, kernel_y, kernel_x] = pass.kernel;
        let [axis_z, axis_y, axis_x] = &pass.axes;
        let place = |axis: usize, offset: isize| (offset - tiles.lowest[axis]) as usize;
        let mut count = 0;
        for z in axis_z.inside(position[0], self.input.spatial[0]) {
            for y in
                axis_y.taps.iter().copied().filter(|tap| {
                    all_rows || is_inside(axis_y, tap.offset, position[1], self.input.spatial[1])
                })
            {
                for x in &axis_x.taps {
                    let row = place(0, z.offset) * tiles.span[1] + place(1, y.offset);
                    taps[count] = Tap {
                        source: row * tiles.scratch_row() + tiles.scratch_column(place(2, x.offset)),
                        weights: ((z.tap * kernel_y + y.tap) * kernel_x + x.tap) * LANES * width,
                    };
                    count += 1;
                }
            }
        }
        count
    }
}

fn is_inside(axis: &Axis, offset: isize, j: usize, size: usize) -> bool {
    (0..size as isize).contains(&((j * axis.step) as isize + offset))
}

/// A group of result channels and a chunk of summed blocks in scratch.
struct Chunk<'a> {
    group: &'a Group,
    block: usize,
    count: usize,
    scratch: &'a [f32],
}

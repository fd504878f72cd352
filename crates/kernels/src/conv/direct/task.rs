//! The loops around the microkernel.

use std::ops::Range;

use super::columns::Columns;
use super::micro::{MicroTable, Operands, Tap};
use super::pass::{Axis, AxisTap, Pass};
use super::results::{Frame, Output, Region, Results};
use super::rows::LaneStatistics;
use super::tiles::{Input, Tile, Tiles};
use crate::Context;
use crate::conv::packed::{Group, SourceWeights};
use crate::layout::{LANES, clear_padding};
use crate::memory::SharedMut;

/// Most taps of a kernel along an axis.
const MAX_SIZE: usize = 7;
/// Taps of 16 summed and 32 result channels whose weights stay in the first-level cache (18 KB).
const CACHED_TAPS: usize = 9;
/// Up to so many are used at once all the same (108 KB): the second-level cache delivers them in time.
const STREAMED_TAPS: usize = 54;
/// Positions that use them at least.
const POSITIONS: usize = 48;

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
            let first_block = groups[0].block;
            let block_count: usize = groups.iter().map(|group| group.blocks).sum();
            let region = Region::new(&tile, self.passes, self.output_spatial);
            let results_len = self.outputs[0].results_len(&region, block_count);
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(tiles.scratch_len() + results_len);
            let (scratch, results) = scratch.split_at_mut(tiles.scratch_len());
            let results = Results { values: SharedMut::new(results), first_block, region };
            let all_blocks = self.outputs[0].blocks;
            // SAFETY: this task alone writes the statistics of its groups' blocks; groups are consecutive blocks.
            let mut statistics = statistics.as_ref().map(|statistics| unsafe {
                let part = statistics.part(index * all_blocks + first_block, block_count);
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
                    let frame =
                        self.outputs[group.source].frame(tile.sample, group, &results, self.output_spatial);
                    let chunk = Chunk { group, block, count, scratch, frame };
                    let statistics = statistics
                        .as_deref_mut()
                        .filter(|_| is_last)
                        .map(|all| &mut all[group.block - first_block..][..group.blocks]);
                    self.multiply(tiles, &tile, &chunk, statistics);
                }
            }
            self.outputs[0].round(ctx, tile.sample, &results, block_count, self.output_spatial);
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
        // All passes over some rows before the next rows: their results interleave, so they share cache lines and pages. Rows are
        // taken in pairs if they are short.
        let kernels = self.micro.of(tiles.words, chunk.group.blocks);
        let widest = self.passes.iter().map(|pass| pass.axes[2].count).max().unwrap_or(0);
        let row_step = if widest <= kernels[1].len() { 2 } else { 1 };
        let at_once = POSITIONS.div_ceil(widest.max(1)).next_multiple_of(row_step);
        let mut list = TapList::default();
        for z in 0..tile.size[0] {
            for first in (0..tile.size[1]).step_by(at_once) {
                for pass in self.passes {
                    let [axis_z, axis_y, _] = &pass.axes;
                    let end =
                        tile.size[1].min(first + at_once).min(axis_y.count.saturating_sub(tile.first[1]));
                    if first < end && tile.first[0] + z < axis_z.count {
                        list.start(tile.first[0] + z, axis_z, self.input.spatial[0]);
                        let rows = Rows { z, first, end, step: row_step };
                        self.multiply_rows(
                            tiles,
                            tile,
                            chunk,
                            pass,
                            &rows,
                            &mut list,
                            statistics.as_deref_mut(),
                        );
                    }
                }
            }
        }
    }

    /// The same for some rows of one pass. Where there are many weights, so many taps and blocks at a time that theirs stay in the
    /// first-level cache while all these rows use them; the results are loaded and stored in between, which changes no sum.
    fn multiply_rows(
        &self,
        tiles: &Tiles,
        tile: &Tile,
        chunk: &Chunk<'_>,
        pass: &Pass,
        rows: &Rows,
        list: &mut TapList,
        statistics: Option<&mut [LaneStatistics]>,
    ) {
        let group = chunk.group;
        let output = &self.outputs[group.source];
        let size_x = self.output_spatial[2];
        // The group's blocks; rows are written by one task only.
        let Frame { data: group_output, voxels, first: first_result, height } = chunk.frame;
        let (width, words) = (group.blocks * LANES, tiles.words.of_block());
        let mut start = match output.start {
            Some(start) if chunk.block == 0 => start[group.block * LANES..][..width].as_ptr(),
            _ => std::ptr::null(),
        };
        let kernels = self.micro.of(tiles.words, group.blocks);
        let SourceWeights { packed, first_block } = self.weights;
        let weights_block = packed.order.block_stride(group);
        let first = group.offset + (first_block + chunk.block) * weights_block;
        let weights = &packed.data[first..][..chunk.count * weights_block];
        let [axis_z, axis_y, axis_x] = &pass.axes;
        // The row of results of a row of positions.
        let result_z = axis_z.first + axis_z.spacing * (tile.first[0] + rows.z);
        let result = |y: usize| {
            let result_y = axis_y.first + axis_y.spacing * (tile.first[1] + y);
            ((result_z - first_result[0]) * height + result_y - first_result[1]) * size_x + axis_x.first
        };
        let last = result(rows.end - 1) + (axis_x.count.max(1) - 1) * axis_x.spacing;
        assert!(last < voxels && chunk.count > 0);
        let (planes_at_once, blocks_at_once) = list.at_once(pass, chunk.count);
        for block in (0..chunk.count).step_by(blocks_at_once) {
            for plane in (0..list.planes.max(1)).step_by(planes_at_once) {
                let planes = plane..list.planes.min(plane + planes_at_once);
                for y in (rows.first..rows.end).step_by(rows.step) {
                    let count = rows.step.min(rows.end - y);
                    let lines = if count == 2 {
                        0..axis_y.taps.len()
                    } else {
                        axis_y.indices_inside(tile.first[1] + y, self.input.spatial[1])
                    };
                    list.fill(tiles, pass, planes.clone(), lines, width);
                    let scratch_row = block * tiles.scratch_block()
                        + (rows.z * axis_z.step * tiles.span[1] + y * axis_y.step) * tiles.scratch_row();
                    let row = result(y);
                    let blocks = blocks_at_once.min(chunk.count - block);
                    // What the microkernels rely on: the last value of the last block, position and tap.
                    let last_row = scratch_row
                        + (blocks - 1) * tiles.scratch_block()
                        + (count - 1) * axis_y.step * tiles.scratch_row();
                    assert!(last_row + list.reach.source + axis_x.count * words <= chunk.scratch.len());
                    assert!(list.reach.weights + words * width <= weights_block);
                    let mut x = 0;
                    for columns in Columns::new(axis_x.count, kernels[0].len()) {
                        let operands = Operands {
                            source: chunk.scratch[scratch_row + x * words..].as_ptr(),
                            source_row: axis_y.step * tiles.scratch_row(),
                            source_block: tiles.scratch_block(),
                            blocks,
                            taps: list.taps(),
                            weights: weights[block * weights_block..].as_ptr(),
                            weights_block,
                            // SAFETY: the row and column lie within the result block.
                            output: unsafe { group_output.add((row + x * axis_x.spacing) * LANES) },
                            output_column: axis_x.spacing * LANES,
                            output_row: axis_y.spacing * size_x * LANES,
                            output_block: voxels * LANES,
                            start,
                        };
                        debug_assert!(x + columns <= axis_x.count && columns <= kernels[count - 1].len());
                        // SAFETY: taps are inside of scratch for every position of the row and every block, weights cover all
                        // taps of the blocks, as asserted; `start` covers the group, positions lie in the output, as asserted,
                        // which is written by this task alone; the table is that of a level that the CPU has.
                        unsafe { kernels[count - 1][columns - 1](&operands) };
                        x += columns;
                    }
                }
                start = std::ptr::null();
            }
        }
        let is_last = chunk.block + chunk.count == self.input.blocks;
        if is_last && group.padding() > 0 {
            for y in rows.first..rows.end {
                // SAFETY: the row was just written by this task.
                unsafe {
                    let values = group_output.add(((group.blocks - 1) * voxels + result(y)) * LANES);
                    clear_padding(values, axis_x.count, axis_x.spacing * LANES, LANES - group.padding());
                }
            }
        }
        for (within, statistics) in statistics.into_iter().flatten().enumerate() {
            for y in rows.first..rows.end {
                // SAFETY: the row was just written by this task. Statistics are taken forward only, where rows are contiguous.
                unsafe {
                    let values = group_output.add((within * voxels + result(y)) * LANES);
                    (self.input.rows.statistics)(values, axis_x.count, statistics);
                }
            }
        }
    }
}

/// Rows of positions of a tile that are computed together.
struct Rows {
    z: usize,
    first: usize,
    end: usize,
    /// Rows of a microkernel.
    step: usize,
}

/// Taps of a row of positions, listed again only where they change.
struct TapList {
    /// The taps along z that lie inside of the image.
    inside: [AxisTap; MAX_SIZE],
    planes: usize,
    taps: [Tap; MAX_SIZE * MAX_SIZE * MAX_SIZE],
    count: usize,
    /// Largest distances in scratch and in the weights of a block.
    reach: Tap,
    /// Planes of taps, and taps along y, that are listed.
    listed: Option<(Range<usize>, Range<usize>)>,
}

impl Default for TapList {
    fn default() -> Self {
        let taps = [Tap::default(); MAX_SIZE * MAX_SIZE * MAX_SIZE];
        Self {
            inside: [AxisTap::default(); MAX_SIZE],
            planes: 0,
            taps,
            count: 0,
            reach: Tap::default(),
            listed: None,
        }
    }
}

impl TapList {
    /// Turns to the positions at `position_z`.
    fn start(&mut self, position_z: usize, axis_z: &Axis, size_z: usize) {
        let inside = axis_z.indices_inside(position_z, size_z);
        self.planes = inside.len();
        self.inside[..inside.len()].copy_from_slice(&axis_z.taps[inside]);
        self.listed = None;
    }

    /// Planes of taps, and blocks of a chunk of `blocks`, whose weights are used together: some blocks only with all planes.
    fn at_once(&self, pass: &Pass, blocks: usize) -> (usize, usize) {
        let in_plane = (pass.axes[1].taps.len() * pass.axes[2].taps.len()).max(1);
        let planes = self.planes.max(1);
        if blocks * planes * in_plane <= STREAMED_TAPS {
            return (planes, blocks);
        }
        let some = (CACHED_TAPS / in_plane).clamp(1, planes);
        (some, if some < planes { 1 } else { (CACHED_TAPS / (in_plane * planes)).clamp(1, blocks) })
    }

    /// Lists the taps of some planes and of some taps along y.
    fn fill(&mut self, tiles: &Tiles, pass: &Pass, planes: Range<usize>, lines: Range<usize>, width: usize) {
        let wanted = Some((planes.clone(), lines.clone()));
        if self.listed == wanted {
            return;
        }
        self.listed = wanted;
        self.count = 0;
        self.reach = Tap::default();
        let [_, kernel_y, kernel_x] = pass.kernel;
        let [_, axis_y, axis_x] = &pass.axes;
        let place = |axis: usize, offset: isize| (offset - tiles.lowest[axis]) as usize;
        let words = tiles.words.of_block();
        for z in &self.inside[planes] {
            for y in &axis_y.taps[lines.clone()] {
                let row = place(0, z.offset) * tiles.span[1] + place(1, y.offset);
                for x in &axis_x.taps {
                    let tap = Tap {
                        source: row * tiles.scratch_row() + tiles.scratch_column(place(2, x.offset)),
                        weights: ((z.tap * kernel_y + y.tap) * kernel_x + x.tap) * words * width,
                    };
                    self.taps[self.count] = tap;
                    self.reach.source = self.reach.source.max(tap.source);
                    self.reach.weights = self.reach.weights.max(tap.weights);
                    self.count += 1;
                }
            }
        }
    }

    fn taps(&self) -> &[Tap] {
        &self.taps[..self.count]
    }
}

/// A group of result channels and a chunk of summed blocks in scratch.
struct Chunk<'a> {
    group: &'a Group,
    block: usize,
    count: usize,
    scratch: &'a [f32],
    frame: Frame,
}

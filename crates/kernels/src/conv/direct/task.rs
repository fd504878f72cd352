//! Tiles, packing into scratch, and the loops around the microkernel.

use super::micro::{MicroTable, Operands, Tap};
use super::pass::{Axis, Pass, offsets};
use super::rows::{BlockAffine, LaneStatistics, RowTable};
use crate::Context;
use crate::conv::Source;
use crate::conv::weights::{Group, Packed};
use crate::layout::{LANES, SharedMut, blocks};

/// Most taps of a kernel: 7 x 7 x 7.
const MAX_TAPS: usize = 343;
/// Scratch of a task in values, so that it stays in the L2 cache beside the weights of a few blocks.
const SCRATCH_VALUES: usize = (360 << 10) / 4;
/// Values of weights of one group that a chunk of summed blocks may have: 4 blocks of a 3x3x3 kernel.
const CHUNK_TAPS: usize = 108;
const MAX_CHUNK: usize = 8;
/// Tasks to aim for, so that many threads have work and dynamic scheduling evens out.
const WANTED_TASKS: usize = 32;

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
    pub(super) batch: usize,
    pub(super) sources: &'a [Source<'a>],
    pub(super) source_channels: &'a [usize],
    pub(super) source_spatial: [usize; 3],
    pub(super) source_blocks: usize,
    pub(super) weights: &'a Packed,
    pub(super) outputs: &'a [Output<'a>],
    pub(super) output_spatial: [usize; 3],
    pub(super) passes: &'a [Pass],
    pub(super) micro: &'static MicroTable,
    pub(super) rows: &'static RowTable,
}

/// How the work is cut. Positions are those of a pass (`j`), the same for all passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles {
    /// Positions (z, y, x) over all passes.
    grid: [usize; 3],
    /// Positions (z, y) of a tile.
    tile: [usize; 2],
    /// Tiles per sample (z, y).
    tiles: [usize; 2],
    batch: usize,
    /// Tasks that share a tile, each with some of the groups of result channels.
    shares: usize,
    /// Summed blocks in scratch at a time.
    chunk: usize,
    /// Lowest offset (z, y, x), and extent of what a tile reads.
    lowest: [isize; 3],
    span: [usize; 3],
    /// Source positions per result position along x: scratch rows are sorted by the remainder.
    step: usize,
    /// Vectors per remainder in a scratch row.
    columns: usize,
}

impl Tiles {
    pub(super) fn new(job: &Job<'_>) -> Self {
        let steps: [usize; 3] =
            std::array::from_fn(|axis| job.passes.first().map_or(1, |pass| pass.axes[axis].step));
        let grid: [usize; 3] = std::array::from_fn(|axis| {
            job.passes.iter().map(|pass| pass.axes[axis].count).max().unwrap_or(0)
        });
        let ranges: [(isize, isize); 3] = std::array::from_fn(|axis| offsets(job.passes, axis));
        let extent = |axis: usize, positions: usize| {
            positions.saturating_sub(1) * steps[axis] + (ranges[axis].1 - ranges[axis].0) as usize + 1
        };
        let columns = extent(2, grid[2]).div_ceil(steps[2]);
        let taps: usize = job.passes.first().map_or(1, |pass| pass.kernel.iter().product());
        let chunk = (CHUNK_TAPS / taps).clamp(1, MAX_CHUNK).min(job.source_blocks);
        let values = |tile_z: usize, tile_y: usize| {
            chunk * extent(0, tile_z) * extent(1, tile_y) * columns * steps[2] * LANES
        };
        let [size_z, size_y, size_x] = grid;
        let count = |tile: [usize; 2]| job.batch * size_z.div_ceil(tile[0]) * size_y.div_ceil(tile[1]);
        let mut tile = [1, size_y];
        while tile[1] > 4 && values(1, tile[1]) > SCRATCH_VALUES {
            tile[1] = tile[1].div_ceil(2);
        }
        let deepest = if size_x <= 8 { 4 } else { 2 };
        while tile[0] * 2 <= size_z.min(deepest)
            && values(tile[0] * 2, tile[1]) <= SCRATCH_VALUES
            && (size_x <= 8 || count([tile[0] * 2, tile[1]]) >= WANTED_TASKS)
        {
            tile[0] *= 2;
        }
        let groups = job.weights.groups.len();
        let mut shares = 1;
        while count(tile) * shares < WANTED_TASKS && shares * 2 <= groups {
            shares *= 2;
        }
        Self {
            grid,
            tile,
            tiles: [size_z.div_ceil(tile[0]), size_y.div_ceil(tile[1])],
            batch: job.batch,
            shares,
            chunk,
            lowest: ranges.map(|range| range.0),
            span: [extent(0, tile[0]), extent(1, tile[1]), columns * steps[2]],
            step: steps[2],
            columns,
        }
    }

    /// Tiles of all samples, `[sample][z][y]`.
    pub(super) fn count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    fn scratch_row(&self) -> usize {
        self.span[2] * LANES
    }

    fn scratch_block(&self) -> usize {
        self.span[0] * self.span[1] * self.scratch_row()
    }

    /// Place of source position `x` in a scratch row, both counted from the lowest offset.
    fn scratch_column(&self, x: usize) -> usize {
        (x % self.step * self.columns + x / self.step) * LANES
    }
}

/// A tile of a sample: first position and number of positions (z, y).
#[derive(Clone, Copy)]
struct Tile {
    sample: usize,
    first: [usize; 2],
    size: [usize; 2],
}

impl Job<'_> {
    /// Runs all tasks. `statistics` is `[tile][result block]` and is overwritten.
    pub(super) fn run(
        &self,
        ctx: &Context,
        tiles: &Tiles,
        statistics: Option<SharedMut<'_, LaneStatistics>>,
    ) {
        let groups = &self.weights.groups;
        ctx.pool().par_for(tiles.count() * tiles.shares, |thread, task| {
            let (index, share) = (task / tiles.shares, task % tiles.shares);
            let groups =
                &groups[groups.len() * share / tiles.shares..groups.len() * (share + 1) / tiles.shares];
            let [tiles_z, tiles_y] = tiles.tiles;
            let first = [index / tiles_y % tiles_z * tiles.tile[0], index % tiles_y * tiles.tile[1]];
            let size = std::array::from_fn(|axis| tiles.tile[axis].min(tiles.grid[axis] - first[axis]));
            let tile = Tile { sample: index / (tiles_y * tiles_z), first, size };
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(tiles.chunk * tiles.scratch_block());
            let all_blocks = self.outputs[0].blocks;
            // SAFETY: this task alone writes the statistics of its groups' blocks; groups are consecutive blocks.
            let mut statistics = statistics.as_ref().map(|statistics| unsafe {
                let count = groups.iter().map(|group| group.blocks).sum();
                let part = statistics.part(index * all_blocks + groups[0].block, count);
                part.fill(LaneStatistics::EMPTY);
                part
            });
            for block in (0..self.source_blocks).step_by(tiles.chunk) {
                let count = tiles.chunk.min(self.source_blocks - block);
                for within in 0..count {
                    self.pack(tiles, &tile, block + within, &mut scratch[within * tiles.scratch_block()..]);
                }
                let is_last = block + count == self.source_blocks;
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

    /// Writes what the tile reads of summed block `index` to `scratch`: zeros outside of the image, activation applied.
    fn pack(&self, tiles: &Tiles, tile: &Tile, index: usize, scratch: &mut [f32]) {
        let (mut source, mut block) = (0, index);
        while block >= blocks(self.source_channels[source]) {
            block -= blocks(self.source_channels[source]);
            source += 1;
        }
        let block = tile.sample * blocks(self.source_channels[source]) + block;
        let source = &self.sources[source];
        let affine = BlockAffine::of(source, block);
        let [size_z, size_y, size_x] = self.source_spatial;
        let steps = [self.passes[0].axes[0].step, self.passes[0].axes[1].step];
        let origin: [isize; 2] =
            std::array::from_fn(|axis| (tile.first[axis] * steps[axis]) as isize + tiles.lowest[axis]);
        let row_len = tiles.scratch_row();
        // Columns of the row that lie in the image, counted from the lowest offset.
        let left = (-tiles.lowest[2]).max(0) as usize;
        let skipped = tiles.lowest[2].max(0) as usize;
        let inside = left.min(tiles.span[2])..tiles.span[2].min(left + size_x.saturating_sub(skipped));
        for z in 0..tiles.span[0] {
            let Some(source_z) = usize::try_from(origin[0] + z as isize).ok().filter(|z| *z < size_z) else {
                // Taps outside of the image along z are never read.
                continue;
            };
            for y in 0..tiles.span[1] {
                let row = &mut scratch[(z * tiles.span[1] + y) * row_len..][..row_len];
                let Some(source_y) = usize::try_from(origin[1] + y as isize).ok().filter(|y| *y < size_y)
                else {
                    row.fill(0.0);
                    continue;
                };
                let from = &source.data[((block * size_z + source_z) * size_y + source_y) * size_x * LANES..]
                    [..size_x * LANES];
                if tiles.step == 1 {
                    row[..inside.start * LANES].fill(0.0);
                    row[inside.end * LANES..].fill(0.0);
                } else {
                    row.fill(0.0);
                }
                for remainder in 0..tiles.step {
                    // First column in the image with this remainder.
                    let first =
                        inside.start + (remainder + tiles.step - inside.start % tiles.step) % tiles.step;
                    if first >= inside.end {
                        continue;
                    }
                    let count = (inside.end - first).div_ceil(tiles.step);
                    let from = &from[(first - left + skipped) * LANES..];
                    let to = &mut row[tiles.scratch_column(first)..];
                    assert!(
                        from.len() >= ((count - 1) * tiles.step + 1) * LANES && to.len() >= count * LANES
                    );
                    // SAFETY: the lengths were just checked; `BlockAffine::of` points to 16 values each; the table is that of a
                    // level that the CPU has.
                    unsafe {
                        (self.rows.pack)(from.as_ptr(), to.as_mut_ptr(), count, tiles.step * LANES, affine)
                    };
                }
            }
        }
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
        let weights_block = self.weights.block_stride(group);
        let weights =
            &self.weights.data[group.offset + chunk.block * weights_block..][..chunk.count * weights_block];
        let mut taps = [Tap::default(); MAX_TAPS];
        for pass in self.passes {
            let [axis_z, axis_y, axis_x] = &pass.axes;
            let columns = Columns::new(axis_x.count, kernels[0].len());
            let rows_z = tile.size[0].min(axis_z.count.saturating_sub(tile.first[0]));
            let rows_y = tile.size[1].min(axis_y.count.saturating_sub(tile.first[1]));
            for z in 0..rows_z {
                let mut y = 0;
                while y < rows_y {
                    let rows = if axis_x.count <= kernels[1].len() && y + 1 < rows_y { 2 } else { 1 };
                    let position = [tile.first[0] + z, tile.first[1] + y];
                    let count = self.list_taps(tiles, pass, position, rows == 2, width, &mut taps);
                    let result_z = axis_z.first + axis_z.spacing * position[0];
                    let result_y = axis_y.first + axis_y.spacing * position[1];
                    let row = (result_z * size_y + result_y) * size_x + axis_x.first;
                    let scratch_row =
                        (z * axis_z.step * tiles.span[1] + y * axis_y.step) * tiles.scratch_row();
                    let mut x = 0;
                    for chunk_columns in columns {
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
                    if let Some(statistics) = &mut statistics {
                        for (within, statistics) in statistics.iter_mut().enumerate() {
                            for row in (0..rows).map(|r| row + r * axis_y.spacing * size_x) {
                                // SAFETY: the row was just written by this task. Statistics are taken forward only, where
                                // rows are contiguous.
                                unsafe {
                                    let values = group_output.add((within * voxels + row) * LANES);
                                    (self.rows.statistics)(values, axis_x.count, statistics);
                                }
                            }
                        }
                    }
                    y += rows;
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
        for z in axis_z.inside(position[0], self.source_spatial[0]) {
            for y in
                axis_y.taps.iter().copied().filter(|tap| {
                    all_rows || is_inside(axis_y, tap.offset, position[1], self.source_spatial[1])
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

/// Cuts a row into chunks that are as equal as possible and no longer than a microkernel is wide.
#[derive(Clone, Copy)]
struct Columns {
    rest: usize,
    chunks: usize,
}

impl Columns {
    fn new(columns: usize, widest: usize) -> Self {
        Self { rest: columns, chunks: columns.div_ceil(widest) }
    }
}

impl Iterator for Columns {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        (self.chunks > 0).then(|| {
            let columns = self.rest.div_ceil(self.chunks);
            self.rest -= columns;
            self.chunks -= 1;
            columns
        })
    }
}

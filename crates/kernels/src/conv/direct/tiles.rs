//! How a convolution is cut into tiles, and packing of what a tile reads into scratch.

use super::micro::Words;
use super::pass::{Pass, offsets};
use super::rows::{BlockAffine, RowTable};
use crate::conv::Source;
use crate::layout::{LANES, blocks};
use crate::values::ValuesMut;

/// Scratch of a task in values, so that it stays in the L2 cache beside the weights of a few blocks.
const SCRATCH_VALUES: usize = (360 << 10) / 4;
/// Values of weights of one group that a chunk of summed blocks may have: 4 blocks of a 3x3x3 kernel.
const CHUNK_TAPS: usize = 108;
const MAX_CHUNK: usize = 8;
/// Tasks to aim for, so that many threads have work and dynamic scheduling evens out.
const WANTED_TASKS: usize = 32;

/// How the work is cut. Positions are those of a pass (`j`), the same for all passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles {
    /// Positions (z, y, x) over all passes.
    pub(super) grid: [usize; 3],
    /// Positions (z, y) of a tile.
    pub(super) tile: [usize; 2],
    /// Tiles per sample (z, y).
    pub(super) tiles: [usize; 2],
    pub(super) batch: usize,
    /// Tasks that share a tile, each with some of the groups of result channels.
    pub(super) shares: usize,
    /// Summed blocks in scratch at a time.
    pub(super) chunk: usize,
    /// Lowest offset (z, y, x), and extent of what a tile reads.
    pub(super) lowest: [isize; 3],
    pub(super) span: [usize; 3],
    /// Source positions per result position (z, y).
    pub(super) steps: [usize; 2],
    /// The same along x: scratch rows are sorted by the remainder.
    pub(super) step: usize,
    /// Vectors per remainder in a scratch row.
    pub(super) columns: usize,
    /// What scratch holds.
    pub(super) words: Words,
}

impl Tiles {
    /// Cuts the positions of `passes`. `groups` is the number of groups of result channels that tasks may share out.
    pub(super) fn new(input: &Input<'_>, batch: usize, passes: &[Pass], groups: usize, words: Words) -> Self {
        let taps: usize = passes.first().map_or(1, |pass| pass.kernel.iter().product());
        let chunk = (CHUNK_TAPS / taps).clamp(1, MAX_CHUNK).min(input.blocks);
        Self { words, ..Self::with_chunk(batch, passes, groups, chunk, 2) }
    }

    /// The same for weight gradients. Their sums are per summed block, so one block at a time leaves room for large tiles, and the
    /// larger a tile, the more often the sums are used while they are in the cache. Blocks and groups are tasks of their own.
    pub(super) fn for_weights(input: &Input<'_>, batch: usize, passes: &[Pass], groups: usize) -> Self {
        Self::with_chunk(batch, passes, groups * input.blocks, 1, usize::MAX)
    }

    fn with_chunk(batch: usize, passes: &[Pass], groups: usize, chunk: usize, deepest: usize) -> Self {
        let steps: [usize; 3] =
            std::array::from_fn(|axis| passes.first().map_or(1, |pass| pass.axes[axis].step));
        let grid: [usize; 3] =
            std::array::from_fn(|axis| passes.iter().map(|pass| pass.axes[axis].count).max().unwrap_or(0));
        let ranges: [(isize, isize); 3] = std::array::from_fn(|axis| offsets(passes, axis));
        let extent = |axis: usize, positions: usize| {
            positions.saturating_sub(1) * steps[axis] + (ranges[axis].1 - ranges[axis].0) as usize + 1
        };
        let columns = extent(2, grid[2]).div_ceil(steps[2]);
        let values = |tile_z: usize, tile_y: usize| {
            chunk * extent(0, tile_z) * extent(1, tile_y) * columns * steps[2] * LANES
        };
        let [size_z, size_y, size_x] = grid;
        let count = |tile: [usize; 2]| batch * size_z.div_ceil(tile[0]) * size_y.div_ceil(tile[1]);
        let mut tile = [1, size_y];
        while tile[1] > 4 && values(1, tile[1]) > SCRATCH_VALUES {
            tile[1] = tile[1].div_ceil(2);
        }
        let deepest = if size_x <= 8 { deepest.max(4) } else { deepest };
        // Tiles of a result are all the tasks there are if its groups are not shared out; sums are tasks anyway.
        let shared_out = if deepest == usize::MAX { groups } else { 1 };
        loop {
            let deeper = (tile[0] * 2).min(size_z).min(deepest);
            let enough = size_x <= 8 || count([deeper, tile[1]]) * shared_out >= WANTED_TASKS;
            if deeper == tile[0] || !enough || values(deeper, tile[1]) > SCRATCH_VALUES {
                break;
            }
            tile[0] = deeper;
        }
        let mut shares = 1;
        while count(tile) * shares < WANTED_TASKS && shares * 2 <= groups {
            shares *= 2;
        }
        Self {
            grid,
            tile,
            tiles: [size_z.div_ceil(tile[0]), size_y.div_ceil(tile[1])],
            batch,
            shares,
            chunk,
            lowest: ranges.map(|range| range.0),
            span: [extent(0, tile[0]), extent(1, tile[1]), columns * steps[2]],
            steps: [steps[0], steps[1]],
            step: steps[2],
            columns,
            words: Words::F32,
        }
    }

    /// Tiles of all samples, `[sample][z][y]`.
    pub(super) fn count(&self) -> usize {
        self.batch * self.tiles[0] * self.tiles[1]
    }

    pub(super) fn scratch_row(&self) -> usize {
        self.span[2] * self.words.of_block()
    }

    pub(super) fn scratch_block(&self) -> usize {
        self.span[0] * self.span[1] * self.scratch_row()
    }

    /// Place of source position `x` in a scratch row, both counted from the lowest offset.
    pub(super) fn scratch_column(&self, x: usize) -> usize {
        (x % self.step * self.columns + x / self.step) * self.words.of_block()
    }

    /// Tile `index` of [`Tiles::count`].
    pub(super) fn tile(&self, index: usize) -> Tile {
        let [tiles_z, tiles_y] = self.tiles;
        let first = [index / tiles_y % tiles_z * self.tile[0], index % tiles_y * self.tile[1]];
        let size = std::array::from_fn(|axis| self.tile[axis].min(self.grid[axis] - first[axis]));
        Tile { sample: index / (tiles_y * tiles_z), first, size }
    }

    /// Words of scratch for a chunk.
    pub(super) fn scratch_len(&self) -> usize {
        self.chunk * self.scratch_block()
    }
}

/// A tile of a sample: first position and number of positions (z, y).
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) sample: usize,
    pub(super) first: [usize; 2],
    pub(super) size: [usize; 2],
}

/// Concatenated sources.
pub(super) struct Input<'a> {
    pub(super) sources: &'a [Source<'a>],
    /// Channels of each source.
    pub(super) channels: &'a [usize],
    pub(super) spatial: [usize; 3],
    /// Blocks of all sources.
    pub(super) blocks: usize,
    pub(super) rows: &'static RowTable,
}

impl Input<'_> {
    /// Writes what the tile reads of summed block `index` to `scratch`: zeros outside of the image, activation applied.
    pub(super) fn pack(&self, tiles: &Tiles, tile: &Tile, index: usize, scratch: &mut [f32]) {
        let (mut source, mut block) = (0, index);
        while block >= blocks(self.channels[source]) {
            block -= blocks(self.channels[source]);
            source += 1;
        }
        let block = tile.sample * blocks(self.channels[source]) + block;
        let source = &self.sources[source];
        let affine = BlockAffine::of(source, block);
        let [size_z, size_y, size_x] = self.spatial;
        let origin: [isize; 2] =
            std::array::from_fn(|axis| (tile.first[axis] * tiles.steps[axis]) as isize + tiles.lowest[axis]);
        let (row_len, words) = (tiles.scratch_row(), tiles.words.of_block());
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
                let start = ((block * size_z + source_z) * size_y + source_y) * size_x * LANES;
                let from = source.data.part(start, size_x * LANES);
                for remainder in 0..tiles.step {
                    // First column in the image with this remainder, and how many there are.
                    let first =
                        inside.start + (remainder + tiles.step - inside.start % tiles.step) % tiles.step;
                    let count = inside.end.saturating_sub(first).div_ceil(tiles.step);
                    let row = &mut row[remainder * tiles.columns * words..][..tiles.columns * words];
                    let before = if count == 0 { 0 } else { first / tiles.step };
                    row[..before * words].fill(0.0);
                    row[(before + count) * words..].fill(0.0);
                    if count == 0 {
                        continue;
                    }
                    let start = (first - left + skipped) * LANES;
                    let from = from.part(start, from.len() - start);
                    let to = &mut row[before * words..];
                    assert!(
                        from.len() >= ((count - 1) * tiles.step + 1) * LANES && to.len() >= count * words
                    );
                    let to = match tiles.words {
                        Words::F32 => ValuesMut::F32(to),
                        Words::Bf16 => ValuesMut::bf16_in(to, count * LANES),
                    };
                    // SAFETY: the lengths were just checked; `BlockAffine::of` points to 16 values each; the table is that of a
                    // level that the CPU has.
                    unsafe { self.rows.pack(from, to, count, tiles.step * LANES, affine) };
                }
            }
        }
    }
}

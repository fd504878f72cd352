//! Tiles of a plain image and what they read, copied to scratch with a border of zeros.

use crate::conv::ConvShape;
use crate::conv::direct::micro::Tap;
use crate::layout::LANES;

/// Rows of results that a tile has at most.
const TILE_ROWS: usize = 8;

/// A tile: sample and rows `first_row..first_row + rows` of slice `z` of the output.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) sample: usize,
    pub(super) z: usize,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

/// How a plain image is cut. Scratch is `[channel][z tap][source row of the tile][remainder of x][x]`.
pub(super) struct PlainTiles<'a> {
    shape: &'a ConvShape,
    output: [usize; 3],
    rows: usize,
    tiles_y: usize,
    /// Source rows of a tile.
    span_y: usize,
    /// Values per remainder in a scratch row.
    columns: usize,
}

impl<'a> PlainTiles<'a> {
    pub(super) fn new(shape: &'a ConvShape) -> Self {
        let output = shape.output().spatial;
        let rows = TILE_ROWS.min(output[1]);
        let span_x = (output[2] - 1) * shape.stride[2] + shape.kernel[2];
        Self {
            shape,
            output,
            rows,
            tiles_y: output[1].div_ceil(rows),
            span_y: (rows - 1) * shape.stride[1] + shape.kernel[1],
            columns: span_x.div_ceil(shape.stride[2]),
        }
    }

    /// Tiles of all samples, `[sample][z][y]`.
    pub(super) fn count(&self) -> usize {
        self.shape.batch * self.output[0] * self.tiles_y
    }

    pub(super) fn tile(&self, index: usize) -> Tile {
        let first_row = index % self.tiles_y * self.rows;
        Tile {
            sample: index / self.tiles_y / self.output[0],
            z: index / self.tiles_y % self.output[0],
            first_row,
            rows: self.rows.min(self.output[1] - first_row),
        }
    }

    fn scratch_row(&self) -> usize {
        self.columns * self.shape.stride[2]
    }

    /// Scratch values from one row of results to the next.
    pub(super) fn row_step(&self) -> usize {
        self.shape.stride[1] * self.scratch_row()
    }

    /// Values of scratch for a tile.
    pub(super) fn scratch_len(&self) -> usize {
        self.shape.in_channels() * self.shape.kernel[0] * self.span_y * self.scratch_row()
    }

    /// Puts all taps `[channel][z][y][x]` into `taps`, relative to the first value that a row of results reads; weights are `width`
    /// apart.
    pub(super) fn list_taps(&self, width: usize, taps: &mut Vec<Tap>) {
        let [kernel_z, kernel_y, kernel_x] = self.shape.kernel;
        let stride = self.shape.stride[2];
        taps.clear();
        for plane in 0..self.shape.in_channels() * kernel_z {
            for y in 0..kernel_y {
                for x in 0..kernel_x {
                    let row = (plane * self.span_y + y) * self.scratch_row();
                    let column = x % stride * self.columns + x / stride;
                    taps.push(Tap { source: row + column, weights: taps.len() * width });
                }
            }
        }
    }

    /// Copies what a tile reads.
    pub(super) fn pack(&self, tile: &Tile, image: &[f32], scratch: &mut [f32]) {
        let [size_z, size_y, size_x] = self.shape.input;
        let padding = self.shape.padding();
        let [_, _, stride] = self.shape.stride;
        let channels = self.shape.in_channels();
        for (index, row) in scratch[..self.scratch_len()].chunks_exact_mut(self.scratch_row()).enumerate() {
            row.fill(0.0);
            let (plane, y) = (index / self.span_y, index % self.span_y);
            let (channel, z) = (plane / self.shape.kernel[0], plane % self.shape.kernel[0]);
            let z = (tile.z * self.shape.stride[0] + z).checked_sub(padding[0]).filter(|z| *z < size_z);
            let y =
                (tile.first_row * self.shape.stride[1] + y).checked_sub(padding[1]).filter(|y| *y < size_y);
            let (Some(z), Some(y)) = (z, y) else { continue };
            let from =
                &image[(((tile.sample * channels + channel) * size_z + z) * size_y + y) * size_x..][..size_x];
            if stride == 1 {
                let count = size_x.min(row.len() - padding[2]);
                row[padding[2]..][..count].copy_from_slice(&from[..count]);
            } else {
                for (x, value) in from.iter().enumerate().take(row.len() - padding[2]) {
                    let at = x + padding[2];
                    row[at % stride * self.columns + at / stride] = *value;
                }
            }
        }
    }
}

/// A group of one or two blocks of output channels, and where its packed values start when each has `per_channel` values.
pub(super) struct PlainGroup {
    pub(super) block: usize,
    pub(super) blocks: usize,
    pub(super) offset: usize,
}

/// The groups of `blocks` output blocks.
pub(super) fn groups(blocks: usize, per_channel: usize) -> impl Iterator<Item = PlainGroup> {
    (0..blocks).step_by(2).map(move |block| PlainGroup {
        block,
        blocks: (blocks - block).min(2),
        offset: block * LANES * per_channel,
    })
}

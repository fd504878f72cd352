//! From the transformed input to results: products, inverse transform with bias, statistics of what was written.

#![allow(unsafe_code)]

use crate::bf16::{self, Piece};
use crate::layout::{LANES, clear_padding};
use crate::simd::{Isa, Simd, at_level};
use crate::values::SharedValues;

use super::Variant;
use super::multiply::{Product, multiply};
use super::output::{OutputTile, inverse_tile};
use super::pair_products::{Pair, PairProduct, multiply_pairs};
use super::pairs;
use super::region::{Slots, Strips, Tiling};

/// Mean and sum of squared deviations of 16 channels over one strip of one plane.
pub(super) const MOMENTS: usize = 2 * LANES;

/// Results of one group of channels for consecutive strips of tiles.
pub(super) struct ProductTask<'a> {
    pub(super) tiling: Tiling,
    pub(super) slots: Slots,
    pub(super) transformed: &'a [f32],
    /// Row of tiles that V begins with.
    pub(super) first_row: usize,
    pub(super) weights: &'a [f32],
    /// Values of U from one point to the next.
    pub(super) weights_point_stride: usize,
    /// Values of U from one block to the next.
    pub(super) weights_block_stride: usize,
    pub(super) width: usize,
    /// Result channels that are padding.
    pub(super) padding: usize,
    pub(super) strips: Strips,
    pub(super) range: std::ops::Range<usize>,
    pub(super) products: &'a mut [f32],
    pub(super) products_stride: usize,
    /// For the products of pairs of planes.
    pub(super) pair_scratch: &'a mut [f32],
    /// For results of one plane and block until they are rounded.
    pub(super) strip: &'a mut [f32],
    pub(super) bias: [f32; 2 * LANES],
    pub(super) target: SharedValues<'a>,
    pub(super) target_blocks: usize,
    pub(super) target_block: usize,
    pub(super) accumulate: bool,
    /// Moments of the first sample, block and plane, and strips of a plane.
    pub(super) moments: Option<(*mut f32, usize)>,
}

at_level! {
    /// # Safety
    /// The target is valid for its tensor, and nobody else uses the strips of the task's blocks or their moments.
    pub(super) unsafe fn compute_products = compute_products_of(task: &mut ProductTask<'_>)
}

#[inline(always)]
unsafe fn compute_products_of<S: Simd>(s: Isa<S>, task: &mut ProductTask<'_>) {
    // SAFETY: by the contract of this function.
    unsafe {
        match task.tiling.variant {
            Variant::W2Z => task.multiply_pairs(s),
            _ => task.multiply(s),
        }
        match task.tiling.variant {
            Variant::W1 => task.inverse::<S, 1, 1>(s),
            Variant::W2 | Variant::W2Z => task.inverse::<S, 2, 4>(s),
            Variant::W4 => task.inverse::<S, 4, 6>(s),
        }
    }
}

impl ProductTask<'_> {
    /// Fills M, point by point, so that the weights of a point are read once and then stay in cache.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, s: Isa<S>) {
        let tiling = self.tiling;
        let (columns, taps_y) = (tiling.columns(), tiling.variant.taps_y());
        let mut taps = [0; 9];
        for point in 0..tiling.variant.points() {
            let (mut strip, mut position) = (self.range.start, 0);
            while strip < self.range.end {
                let (run, next) = self.strips.run(&tiling, strip, self.range.end);
                for (tap, offset) in taps.iter_mut().enumerate().take(tiling.taps()) {
                    let tiles = self.slots.position(run.sample, run.z + tap / taps_y)
                        + (run.row - self.first_row + tap % taps_y) * columns;
                    *offset = tiles * LANES;
                }
                let positions = run.positions(&tiling);
                let per_plane = run.rows * columns;
                // SAFETY: V, U and M have room for all points; the offsets of taps inside the image lie in V.
                unsafe {
                    let product = Product {
                        input: self.transformed.as_ptr().add(point * self.slots.point_stride),
                        block_stride: self.slots.block_stride,
                        blocks: tiling.blocks,
                        taps: &taps[..tiling.taps()],
                        weights: self.weights.as_ptr().add(point * self.weights_point_stride),
                        weights_stride: self.weights_block_stride,
                        width: self.width,
                        output: self
                            .products
                            .as_mut_ptr()
                            .add(point * self.products_stride + position * self.width),
                        add: false,
                    };
                    multiply(s, &product, positions, |first, count| {
                        let planes = (run.z + first / per_plane, run.z + (first + count - 1) / per_plane);
                        let (low, high) = tiling.taps_z_inside(planes.0, planes.1);
                        (low * taps_y, high * taps_y)
                    });
                }
                position += positions;
                strip = next;
            }
        }
    }

    /// As [`Self::multiply`], for pairs of planes.
    #[inline(always)]
    unsafe fn multiply_pairs<S: Simd>(&mut self, s: Isa<S>) {
        let tiling = self.tiling;
        let columns = tiling.columns();
        for point in 0..tiling.variant.points() {
            let (mut strip, mut position) = (self.range.start, 0);
            while strip < self.range.end {
                let (run, next) = self.strips.run(&tiling, strip, self.range.end);
                let tiles = run.rows * columns;
                let offsets = |layer: usize| -> [usize; pairs::POINTS] {
                    std::array::from_fn(|plane| {
                        let position = self.slots.position(run.sample, run.z + 2 * layer + plane);
                        (position + (run.row - self.first_row) * columns) * LANES
                    })
                };
                let products = self
                    .products
                    .as_mut_ptr()
                    .wrapping_add(point * self.products_stride + position * self.width);
                let pair = |layer: usize| {
                    let first = products.wrapping_add(2 * layer * tiles * self.width);
                    Pair {
                        planes: offsets(layer),
                        outputs: [first, first.wrapping_add(tiles * self.width)],
                        both: 2 * layer + 1 < run.planes,
                    }
                };
                // SAFETY: V, U and M have room for all points; the four planes of a pair lie in V, the results of a run in M.
                unsafe {
                    let product = PairProduct {
                        input: self.transformed.as_ptr().add(point * self.slots.point_stride),
                        block_stride: self.slots.block_stride,
                        blocks: tiling.blocks,
                        weights: self.weights.as_ptr().add(point * self.weights_point_stride),
                        width: self.width,
                    };
                    multiply_pairs(s, &product, run.planes.div_ceil(2), tiles, pair, self.pair_scratch);
                }
                position += run.positions(&tiling);
                strip = next;
            }
        }
    }

    /// Transforms M back, tile by tile, and takes the moments of what was written while it is in cache.
    #[inline(always)]
    unsafe fn inverse<S: Simd, const ROWS: usize, const POINTS: usize>(&mut self, s: Isa<S>) {
        let tiling = self.tiling;
        let [depth, height, width] = tiling.size;
        let columns = tiling.columns();
        let (mut strip, mut position) = (self.range.start, 0);
        while strip < self.range.end {
            let (run, next) = self.strips.run(&tiling, strip, self.range.end);
            for plane in 0..run.planes {
                let z = run.z + plane;
                for block in 0..self.width / LANES {
                    let tensor_block = run.sample * self.target_blocks + self.target_block + block;
                    let first = (tensor_block * depth + z) * height * width * LANES;
                    // The plane, of which a strip holds these rows only.
                    let data = match self.target {
                        SharedValues::F32(target) => target.as_mut_ptr().wrapping_add(first),
                        SharedValues::Bf16(_) => {
                            self.strip.as_mut_ptr().wrapping_sub(run.row * ROWS * width * LANES)
                        }
                    };
                    for tile in 0..run.rows * columns {
                        let (row, column) = ((run.row + tile / columns) * ROWS, tile % columns * 4);
                        // SAFETY: the tile lies in the image; M holds its products.
                        unsafe {
                            let tile_out = OutputTile {
                                data: data.wrapping_add((row * width + column) * LANES),
                                row_stride: width * LANES,
                                rows: (height - row).min(ROWS),
                                columns: (width - column).min(4),
                                accumulate: self.accumulate,
                            };
                            let products =
                                self.products.as_ptr().add((position + tile) * self.width + block * LANES);
                            let bias = self.bias.as_ptr().add(block * LANES);
                            inverse_tile::<S, ROWS, POINTS>(
                                s,
                                products,
                                self.products_stride,
                                bias,
                                &tile_out,
                            );
                        }
                    }
                    let rows = (run.row * ROWS, ((run.row + run.rows) * ROWS).min(height));
                    if self.padding > 0 && (block + 1) * LANES == self.width {
                        // SAFETY: the rows were just written.
                        unsafe {
                            let voxels = data.wrapping_add(rows.0 * width * LANES);
                            clear_padding(voxels, (rows.1 - rows.0) * width, LANES, LANES - self.padding);
                        }
                    }
                    if let Some((moments, per_plane)) = self.moments {
                        let unit = (tensor_block * depth + z) * per_plane + run.row / self.strips.rows;
                        // SAFETY: the rows were just written; each strip has moments of its own.
                        unsafe {
                            let voxels = data.wrapping_add(rows.0 * width * LANES);
                            moments_of(s, voxels, (rows.1 - rows.0) * width, moments.add(unit * MOMENTS));
                        }
                    }
                    if let SharedValues::Bf16(target) = self.target {
                        let start = rows.0 * width * LANES;
                        // SAFETY: the rows were just written to the strip; their places lie in the target.
                        unsafe {
                            let (from, to) =
                                (data.wrapping_add(start), target.as_mut_ptr().add(first + start));
                            let count = (rows.1 - rows.0) * width * LANES;
                            bf16::round_piece(s, &Piece { from, to, count });
                        }
                    }
                }
                position += run.rows * columns;
            }
            strip = next;
        }
    }
}

/// Adds up `count` terms in four interleaved sums.
#[inline(always)]
fn sum_of<S: Simd>(s: Isa<S>, count: usize, add: impl Fn(usize, S::Vector) -> S::Vector) -> S::Vector {
    let mut sums = [s.zero(); 4];
    let whole = count - count % 4;
    for first in (0..whole).step_by(4) {
        for (chain, sum) in sums.iter_mut().enumerate() {
            *sum = add(first + chain, *sum);
        }
    }
    for last in whole..count {
        sums[0] = add(last, sums[0]);
    }
    s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))
}

/// Mean and sum of squared deviations of 16 channels over `count` voxels.
#[inline(always)]
unsafe fn moments_of<S: Simd>(s: Isa<S>, data: *const f32, count: usize, moments: *mut f32) {
    let share = s.splat(1.0 / count as f32);
    for lane in (0..LANES).step_by(S::LANES) {
        // SAFETY: the caller vouches for `count` voxels; the moments of a strip are two vectors of 16 values.
        unsafe {
            let data = data.add(lane);
            let total = sum_of(
                s,
                count,
                #[inline(always)]
                |voxel, sum| s.add(s.load(data.add(voxel * LANES)), sum),
            );
            let mean = s.mul(share, total);
            let squares = sum_of(
                s,
                count,
                #[inline(always)]
                |voxel, sum| {
                    let difference = s.sub(s.load(data.add(voxel * LANES)), mean);
                    s.mul_add(difference, difference, sum)
                },
            );
            s.store(moments.add(lane), mean);
            s.store(moments.add(LANES + lane), squares);
        }
    }
}

//! The products of pairs of planes, see [`pairs`].
//!
//! Neither P nor the products at points along z are kept: for a dozen positions P is formed in a small scratch (first-level cache for
//! few channels) and multiplied, and the results of the four points are combined into M of the two planes. With the registers of
//! AVX-512 the sums of all four points stay there until they are combined ([`Quadruple`]); otherwise they go through scratch.
//!
//! This costs 4 loads and 4 stores per vector of input channels, against 128 multiply-adds in each group of result channels that it
//! serves, and saves a third of them.

#![allow(unsafe_code)]

use super::multiply::{Product, multiply};
use super::pairs::{self, POINTS};
use super::transform::output2;
use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// Positions that are computed together at most: one group of the microkernel for AVX-512, two for others, which share weights.
const MOST: usize = 12;

/// Values of scratch for a convolution of `blocks` input blocks: P `[point][block][position][16]` and products
/// `[point][position][width]` of a group.
pub(super) fn scratch_len(blocks: usize) -> usize {
    POINTS * MOST * (blocks * LANES + 2 * LANES)
}

/// Operands of one point in the plane.
#[derive(Clone, Copy)]
pub(super) struct PairProduct {
    /// V of the first block at this point.
    pub(super) input: *const f32,
    /// Values from one block of V to the next.
    pub(super) block_stride: usize,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// U of this point: `[block][point along z][16][width]`.
    pub(super) weights: *const f32,
    /// Result channels: 16 or 32.
    pub(super) width: usize,
}

/// A pair of planes.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// Offsets in V of the first tile of the four planes that it reads.
    pub(super) planes: [usize; POINTS],
    /// M of the first tile of its two planes.
    pub(super) outputs: [*mut f32; 2],
    /// Whether the second plane lies in the image.
    pub(super) both: bool,
}

/// Consecutive tiles of a pair of planes that belong to one group of positions.
struct Piece {
    /// Offsets in V of its first tile.
    planes: [usize; POINTS],
    /// M of its first tile.
    outputs: [*mut f32; 2],
    both: bool,
    tiles: usize,
}

impl Piece {
    /// Combines the products of the four points for a vector `at` values behind the first.
    ///
    /// # Safety
    /// The outputs that lie in the image are valid there.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: Isa<S>, at: usize, points: [S::Vector; POINTS]) {
        let [near, far] = output2(s, points);
        // SAFETY: by the contract of this function.
        unsafe {
            s.store(self.outputs[0].add(at), near);
            if self.both {
                s.store(self.outputs[1].add(at), far);
            }
        }
    }
}

/// The positions of a run: `tiles` of each pair, one pair after the other.
struct Positions<F> {
    tiles: usize,
    width: usize,
    pair: F,
}

impl<F: Fn(usize) -> Pair> Positions<F> {
    /// Calls `visit` with the pieces of the positions `first..end`.
    #[inline(always)]
    fn pieces(&self, first: usize, end: usize, mut visit: impl FnMut(Piece)) {
        let mut at = first;
        while at < end {
            let (layer, tile) = if at < self.tiles { (0, at) } else { (at / self.tiles, at % self.tiles) };
            let tiles = (self.tiles - tile).min(end - at);
            let Pair { planes, outputs, both } = (self.pair)(layer);
            visit(Piece {
                planes: planes.map(|offset| offset + tile * LANES),
                outputs: outputs.map(|output| output.wrapping_add(tile * self.width)),
                both,
                tiles,
            });
            at += tiles;
        }
    }
}

/// Computes `layers` pairs of planes of `tiles` tiles each; `pair` describes one of them.
///
/// # Safety
/// The planes of all pairs lie in V for all blocks, U is valid for all blocks, the outputs that lie in the image are valid for
/// `width` values, and nobody else writes them.
#[inline(always)]
pub(super) unsafe fn multiply_pairs<S: Simd>(
    s: Isa<S>,
    product: &PairProduct,
    layers: usize,
    tiles: usize,
    pair: impl Fn(usize) -> Pair,
    scratch: &mut [f32],
) {
    let PairProduct { input, block_stride, blocks, weights, width } = *product;
    assert!(scratch.len() >= scratch_len(blocks) && width <= 2 * LANES);
    let (transformed, products) = scratch.split_at_mut(POINTS * MOST * blocks * LANES);
    let run = Positions { tiles, width, pair };
    let count = layers * tiles;
    let in_registers = S::LANES == LANES && width == 2 * LANES;
    let groups = count.div_ceil(MOST);
    let mut first = 0;
    for index in 0..groups {
        let positions =
            if in_registers { MOST.min(count - first) } else { (count - first).div_ceil(groups - index) };
        let end = first + positions;
        let point_stride = blocks * positions * LANES;
        let mut at = 0;
        run.pieces(
            first,
            end,
            #[inline(always)]
            |piece| {
                for block in 0..blocks {
                    // SAFETY: the planes lie in V, the positions in the scratch, whose length was checked.
                    unsafe {
                        let source = input.add(block * block_stride);
                        let target = transformed.as_mut_ptr().add((block * positions + at) * LANES);
                        pairs::transform_input(s, source, piece.planes, piece.tiles, target, point_stride);
                    }
                }
                at += piece.tiles;
            },
        );
        if !in_registers {
            // SAFETY: P has just been written; a group has at most `MOST` positions.
            unsafe { multiply_points(s, product, positions, transformed.as_ptr(), products.as_mut_ptr()) };
        }
        let mut at = 0;
        run.pieces(
            first,
            end,
            #[inline(always)]
            |piece| {
                // SAFETY: what is read has just been written; the outputs are valid by the contract of this function.
                unsafe {
                    if in_registers {
                        let operands = Quadruple {
                            input: transformed.as_ptr().add(at * LANES),
                            point_stride,
                            block_stride: positions * LANES,
                            blocks,
                            weights,
                            piece: &piece,
                        };
                        operands.multiply(s);
                    } else {
                        combine(s, products.as_ptr().add(at * width), positions * width, &piece, width);
                    }
                }
                at += piece.tiles;
            },
        );
        first = end;
    }
}

/// The products of `positions` positions at all points: P `[point][block][position][16]` to `[point][position][width]`.
///
/// # Safety
/// P, U and the products are valid.
#[inline(always)]
unsafe fn multiply_points<S: Simd>(
    s: Isa<S>,
    product: &PairProduct,
    positions: usize,
    transformed: *const f32,
    products: *mut f32,
) {
    let PairProduct { blocks, weights, width, .. } = *product;
    for point in 0..POINTS {
        // SAFETY: by the contract of this function.
        unsafe {
            let product = Product {
                input: transformed.add(point * blocks * positions * LANES),
                block_stride: positions * LANES,
                blocks,
                taps: &[0],
                weights: weights.add(point * LANES * width),
                weights_stride: POINTS * LANES * width,
                width,
                output: products.add(point * positions * width),
                add: false,
            };
            multiply(
                s,
                &product,
                positions,
                #[inline(always)]
                |_, _| (0, 1),
            );
        }
    }
}

/// The results of a piece from its products.
///
/// # Safety
/// The products at all points are valid, the outputs that lie in the image too.
#[inline(always)]
unsafe fn combine<S: Simd>(
    s: Isa<S>,
    products: *const f32,
    point_stride: usize,
    piece: &Piece,
    width: usize,
) {
    for at in (0..piece.tiles * width).step_by(S::LANES) {
        // SAFETY: by the contract of this function.
        unsafe {
            let points = array!(|point| s.load(products.add(point * point_stride + at)));
            piece.store(s, at, points);
        }
    }
}

/// Consecutive tiles of a pair of planes, whose P is at hand, for 32 result channels in two vectors.
struct Quadruple<'a> {
    /// P of the first tile.
    input: *const f32,
    /// Values of P from one point along z, and from one block, to the next.
    point_stride: usize,
    block_stride: usize,
    blocks: usize,
    /// As in [`PairProduct`].
    weights: *const f32,
    piece: &'a Piece,
}

impl Quadruple<'_> {
    /// Computes the results of the piece.
    ///
    /// # Safety
    /// P and U are valid, the outputs that lie in the image too, and nobody else uses these.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, s: Isa<S>) {
        let tiles = self.piece.tiles;
        let mut first = 0;
        while first < tiles {
            // SAFETY: by the contract of this function.
            first += unsafe {
                match tiles - first {
                    1 => self.tiles::<S, 1>(s, first),
                    2 | 4 => self.tiles::<S, 2>(s, first),
                    _ => self.tiles::<S, 3>(s, first),
                }
            };
        }
    }

    /// Computes `C` tiles, all four points of them in registers, and returns their number.
    ///
    /// # Safety
    /// As [`Self::multiply`].
    #[inline(always)]
    unsafe fn tiles<S: Simd, const C: usize>(&self, s: Isa<S>, first: usize) -> usize {
        const WIDTH: usize = 2 * LANES;
        let mut sums = [[[s.zero(); POINTS]; 2]; C];
        // SAFETY: blocks, points, tiles and channels lie in the operands.
        unsafe {
            for block in 0..self.blocks {
                let input = self.input.add(block * self.block_stride + first * LANES);
                let weights = self.weights.add(block * POINTS * LANES * WIDTH);
                for lane in 0..LANES {
                    for point in 0..POINTS {
                        let weights = weights.add((point * LANES + lane) * WIDTH);
                        let row: [S::Vector; 2] = array!(|vector| s.load(weights.add(vector * LANES)));
                        let input = input.add(point * self.point_stride + lane);
                        for (tile, sums) in sums.iter_mut().enumerate() {
                            let value = s.broadcast(input.add(tile * LANES));
                            for (sums, weight) in sums.iter_mut().zip(row) {
                                sums[point] = s.mul_add(value, weight, sums[point]);
                            }
                        }
                    }
                }
            }
            for (tile, sums) in sums.into_iter().enumerate() {
                for (vector, points) in sums.into_iter().enumerate() {
                    self.piece.store(s, (first + tile) * WIDTH + vector * LANES, points);
                }
            }
        }
        C
    }
}

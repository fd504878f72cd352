//! F(2, 3) along z, around the products of the transform domain.
//!
//! Two result planes follow from four consecutive planes of V: `P = B^T V` along z for each point and channel, products at four points
//! along z, and `A^T M` for the two planes. None of it is kept: for a group of positions that fits into the registers of the
//! microkernel, P is formed in a small scratch (first-level cache for few channels), multiplied, and the four results are combined
//! into M of the two planes. The weight gradient does the same with the planes of the output's gradient.
//!
//! This costs 4 loads and 4 stores per vector of input channels, against 128 multiply-adds in each group of result channels that it
//! serves, and saves a third of them.

#![allow(unsafe_code)]

use super::multiply::{Product, multiply};
use super::transform::{gradient2, input2, output2, weight_gradient2, weight2};
use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// Points along z.
pub(super) const POINTS: usize = 4;
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

/// One tile of a pair of planes.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// Offsets in V of the four planes that it reads.
    pub(super) planes: [usize; POINTS],
    /// M of its two planes.
    pub(super) outputs: [*mut f32; 2],
    /// Whether the second plane lies in the image.
    pub(super) both: bool,
}

/// Computes `count` tiles, which `pair` describes.
///
/// # Safety
/// The planes of all pairs lie in V for all blocks, U is valid for all blocks, the outputs that lie in the image are valid for
/// `width` values, and nobody else writes them.
#[inline(always)]
pub(super) unsafe fn multiply_pairs<S: Simd>(
    s: Isa<S>,
    product: &PairProduct,
    count: usize,
    pair: impl Fn(usize) -> Pair,
    scratch: &mut [f32],
) {
    let PairProduct { input, block_stride, blocks, weights, width } = *product;
    assert!(scratch.len() >= scratch_len(blocks) && width <= 2 * LANES);
    let (transformed, products) = scratch.split_at_mut(POINTS * MOST * blocks * LANES);
    let groups = count.div_ceil(MOST);
    let mut first = 0;
    for index in 0..groups {
        let positions = (count - first).div_ceil(groups - index);
        let point_stride = blocks * positions * LANES;
        for position in 0..positions {
            let planes = pair(first + position).planes;
            for block in 0..blocks {
                for lane in (0..LANES).step_by(S::LANES) {
                    // SAFETY: the planes lie in V, the position in the scratch, whose length was checked.
                    unsafe {
                        let source = input.add(block * block_stride + lane);
                        let points = input2(s, array!(|plane| s.load(source.add(planes[plane]))));
                        let target =
                            transformed.as_mut_ptr().add((block * positions + position) * LANES + lane);
                        for (point, value) in points.into_iter().enumerate() {
                            s.store(target.add(point * point_stride), value);
                        }
                    }
                }
            }
        }
        for point in 0..POINTS {
            // SAFETY: the point lies in the scratch and in the weights; a group has at most `MOST` positions.
            unsafe {
                let product = Product {
                    input: transformed.as_ptr().add(point * point_stride),
                    block_stride: positions * LANES,
                    blocks,
                    taps: &[0],
                    weights: weights.add(point * LANES * width),
                    weights_stride: POINTS * LANES * width,
                    width,
                    output: products.as_mut_ptr().add(point * positions * width),
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
        for position in 0..positions {
            let Pair { outputs, both, .. } = pair(first + position);
            for channel in (0..width).step_by(S::LANES) {
                // SAFETY: the products were just written; the outputs are valid by the contract of this function.
                unsafe {
                    let source = products.as_ptr().add(position * width + channel);
                    let sums: [S::Vector; POINTS] =
                        array!(|point| s.load(source.add(point * positions * width)));
                    let [near, far] = output2(s, sums);
                    s.store(outputs[0].add(channel), near);
                    if both {
                        s.store(outputs[1].add(channel), far);
                    }
                }
            }
        }
        first += positions;
    }
}

/// Transforms the weights of one vector of result channels along z: `[3 z][9][32]` to `[4 points][9][32]`, in place.
#[inline(always)]
pub(super) fn transform_weights<S: Simd>(s: Isa<S>, taps: &mut [f32]) {
    const PLANE: usize = 9 * 2 * LANES;
    assert!(taps.len() >= (POINTS * 9 - 1) * 2 * LANES + S::LANES);
    for tap in 0..9 {
        let at = taps.as_mut_ptr().wrapping_add(tap * 2 * LANES);
        // SAFETY: the vectors of all four planes lie in the slice, as asserted.
        unsafe {
            let points = weight2(s, array!(|z| s.load(at.add(z * PLANE))));
            for (point, value) in points.into_iter().enumerate() {
                s.store(at.add(point * PLANE), value);
            }
        }
    }
}

/// Forms P for `count` consecutive tiles of a pair of planes: `input` is V of a block at one point, `planes` are the offsets of the four
/// planes, `output` is `[point along z][position][16]`.
///
/// # Safety
/// The tiles of all planes are valid, `output` for the positions at all points, and nobody else uses it.
#[inline(always)]
pub(super) unsafe fn transform_input<S: Simd>(
    s: Isa<S>,
    input: *const f32,
    planes: [usize; POINTS],
    count: usize,
    output: *mut f32,
    point_stride: usize,
) {
    for at in (0..count * LANES).step_by(S::LANES) {
        // SAFETY: by the contract of this function.
        unsafe {
            let points = input2(s, array!(|plane| s.load(input.add(planes[plane] + at))));
            for (point, value) in points.into_iter().enumerate() {
                s.store(output.add(point * point_stride + at), value);
            }
        }
    }
}

/// Transforms `len` values of E of two planes along z, the second `plane_stride` values after the first.
///
/// # Safety
/// As [`transform_input`].
#[inline(always)]
pub(super) unsafe fn transform_gradient<S: Simd>(
    s: Isa<S>,
    gradient: *const f32,
    plane_stride: usize,
    len: usize,
    output: *mut f32,
    point_stride: usize,
) {
    for at in (0..len).step_by(S::LANES) {
        // SAFETY: by the contract of this function.
        unsafe {
            let planes = [s.load(gradient.add(at)), s.load(gradient.add(plane_stride + at))];
            for (point, value) in gradient2(s, planes).into_iter().enumerate() {
                s.store(output.add(point * point_stride + at), value);
            }
        }
    }
}

/// Transforms sums `[point][4 points along z][tap_len]` to `[point][3 taps, 1 unused][tap_len]` in place.
#[inline(always)]
pub(super) fn transform_sums<S: Simd>(s: Isa<S>, sums: &mut [f32], tap_len: usize) {
    for sums in sums.chunks_exact_mut(POINTS * tap_len) {
        for at in (0..tap_len).step_by(S::LANES) {
            let place = sums.as_mut_ptr().wrapping_add(at);
            // SAFETY: a vector at each of the four points lies in the chunk; lengths of taps are multiples of 16.
            unsafe {
                let points = array!(|point| s.load(place.add(point * tap_len)));
                for (tap, value) in weight_gradient2(s, points).into_iter().enumerate() {
                    s.store(place.add(tap * tap_len), value);
                }
            }
        }
    }
}

//! The products of the transform domain: a matrix multiplication per Winograd point.
//!
//! For one point, `M[position][result channel] = sum over (block, tap, channel) of V[block][position + tap offset][channel] *
//! U[block][tap][channel][result channel]`. The taps along z (and along y, when only x is transformed) are summed here, which
//! saves their inverse transforms. The accumulators of a group of positions stay in registers over the whole sum.
//!
//! V is `[block][point][position][16]`, U is `[point][block][tap][16][width]` with `width` 16 or 32 result channels, M is
//! `[point][position][width]`.

#![allow(unsafe_code)]

use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// Where the products of one run of consecutive positions read and write, for one point.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// V of the first block at this point.
    pub(super) input: *const f32,
    /// Values from one block of V to the next.
    pub(super) block_stride: usize,
    /// Number of blocks.
    pub(super) blocks: usize,
    /// Offset of the first position for each tap.
    pub(super) taps: &'a [usize],
    /// U of the first block at this point.
    pub(super) weights: *const f32,
    /// Values from one block of U to the next.
    pub(super) weights_stride: usize,
    /// Result channels: 16 or 32.
    pub(super) width: usize,
    /// M at the first position.
    pub(super) output: *mut f32,
    /// Add to what M holds.
    pub(super) add: bool,
}

/// Values of U that stay in the first-level cache while several groups of positions use them (18 KB).
const CACHED_WEIGHTS: usize = 9 * LANES * 2 * LANES;

/// Computes `positions` consecutive positions; `taps(first, count)` names the taps to sum for a group of positions.
///
/// # Safety
/// all pointers of `product` are valid for the ranges that its strides and `positions` span, and no
/// other thread writes them.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(
    s: Isa<S>,
    product: &Product<'_>,
    positions: usize,
    taps: impl Fn(usize, usize) -> (usize, usize),
) {
    let groups = positions.div_ceil(most_positions::<S>()).max(1);
    // Sums over some blocks for all groups, then over the next: M is loaded and stored in between, which changes no sum.
    let of_block = product.taps.len() * LANES * product.width;
    let at_once = if groups > 1 { (CACHED_WEIGHTS / of_block).max(1) } else { product.blocks };
    for block in (0..product.blocks).step_by(at_once) {
        // SAFETY: the blocks are some of the product's.
        let part = unsafe {
            Product {
                input: product.input.add(block * product.block_stride),
                weights: product.weights.add(block * product.weights_stride),
                blocks: at_once.min(product.blocks - block),
                add: product.add || block > 0,
                ..*product
            }
        };
        let mut first = 0;
        for index in 0..groups {
            let count = (positions - first).div_ceil(groups - index);
            let (low, high) = taps(first, count);
            // SAFETY: the positions lie in the run, so the contract of this function covers them.
            unsafe { group(s, &part, first, count, low, high) };
            first += count;
        }
    }
}

/// Positions that are computed at a time at most: 2 x 12 accumulators of the 32 registers of AVX-512, 2 x 6 of the 16 of AVX2.
fn most_positions<S: Simd>() -> usize {
    if S::LANES == 16 { 12 } else { 6 }
}

/// `count` positions from `first` on, at most [`most_positions`], summed over the taps `low..high`.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn group<S: Simd>(
    s: Isa<S>,
    product: &Product<'_>,
    first: usize,
    count: usize,
    low: usize,
    high: usize,
) {
    macro_rules! columns {
        ($($count:literal)*) => {
            match count {
                // SAFETY: by the contract of this function.
                $($count => unsafe { group_of::<S, $count>(s, product, first, low, high) },)*
                _ => {}
            }
        };
    }
    if S::LANES == 16 {
        columns!(1 2 3 4 5 6 7 8 9 10 11 12);
    } else {
        columns!(1 2 3 4 5 6);
    }
}

/// All result channels of `C` positions.
#[inline(always)]
unsafe fn group_of<S: Simd, const C: usize>(
    s: Isa<S>,
    product: &Product<'_>,
    first: usize,
    low: usize,
    high: usize,
) {
    let mut channel = 0;
    while channel < product.width {
        // SAFETY: passed on; the channels lie in the width.
        unsafe {
            if channel + 2 * S::LANES <= product.width {
                tile::<S, 2, C>(s, product, first, channel, low, high);
                channel += 2 * S::LANES;
            } else {
                tile::<S, 1, C>(s, product, first, channel, low, high);
                channel += S::LANES;
            }
        }
    }
}

/// `O` vectors of result channels at `C` positions, accumulated in registers.
#[inline(always)]
unsafe fn tile<S: Simd, const O: usize, const C: usize>(
    s: Isa<S>,
    product: &Product<'_>,
    first: usize,
    channel: usize,
    low: usize,
    high: usize,
) {
    let width = product.width;
    let mut sums = [[s.zero(); O]; C];
    if product.add {
        for (c, sums) in sums.iter_mut().enumerate() {
            for (o, sum) in sums.iter_mut().enumerate() {
                // SAFETY: M is valid at the position.
                *sum = unsafe { s.load(product.output.add((first + c) * width + channel + o * S::LANES)) };
            }
        }
    }
    for block in 0..product.blocks {
        for (tap, offset) in product.taps.iter().enumerate().take(high).skip(low) {
            // SAFETY: block, tap, channel and position lie in the ranges that the caller vouches for.
            unsafe {
                let input = product.input.add(block * product.block_stride + offset + first * LANES);
                let mut weights =
                    product.weights.add(block * product.weights_stride + tap * LANES * width + channel);
                for lane in 0..LANES {
                    let row: [S::Vector; O] = array!(|o| s.load(weights.add(o * S::LANES)));
                    for (c, sums) in sums.iter_mut().enumerate() {
                        let value = s.broadcast(input.add(c * LANES + lane));
                        for (sum, weight) in sums.iter_mut().zip(row) {
                            *sum = s.mul_add(value, weight, *sum);
                        }
                    }
                    weights = weights.add(width);
                }
            }
        }
    }
    for (c, sums) in sums.iter().enumerate() {
        for (o, sum) in sums.iter().enumerate() {
            // SAFETY: as above.
            unsafe {
                s.store(product.output.add((first + c) * width + channel + o * S::LANES), *sum);
            }
        }
    }
}

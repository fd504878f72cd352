//! The transform of weights: `U[point][block][tap][16][width]` of one group of result channels.

#![allow(unsafe_code)]

use crate::Context;
use crate::conv::taps::Taps;
use crate::layout::LANES;
use crate::memory::SharedMut;
use crate::simd::{Isa, Simd, at_level};

use super::transform::{weight2, weight4};
use super::{Variant, pairs};

/// One block of 16 summed channels of a group of result channels.
#[derive(Debug, Clone, Copy)]
pub(in crate::conv) struct WeightBlock<'a> {
    /// How y is transformed.
    pub(in crate::conv) variant: Variant,
    /// Taps along z: 1 or 3.
    pub(in crate::conv) taps_z: usize,
    /// Natural weights; the taps of a channel pair are consecutive.
    pub(in crate::conv) natural: &'a [f32],
    /// Index of the first tap of the block's first channel pair.
    pub(in crate::conv) first: usize,
    /// From one result channel to the next, and their number.
    pub(in crate::conv) results: (usize, usize),
    /// From one summed channel to the next, and their number.
    pub(in crate::conv) sums: (usize, usize),
    /// Take the taps in reverse order (data gradient).
    pub(in crate::conv) reversed: bool,
    /// Result channels including padding: 16 or 32.
    pub(in crate::conv) width: usize,
}

/// A block and its place in U.
struct WeightTask<'a> {
    block: &'a WeightBlock<'a>,
    output: *mut f32,
    point_stride: usize,
}

at_level! {
    /// # Safety
    /// As [`WeightBlock::transform`].
    unsafe fn transform_block = transform_block_of(task: &WeightTask<'_>)
}

#[inline(always)]
unsafe fn transform_block_of<S: Simd>(s: Isa<S>, task: &WeightTask<'_>) {
    // SAFETY: by the contract of this function.
    unsafe { task.block.transform(s, task.output, task.point_stride) }
}

impl WeightBlock<'_> {
    /// Transforms block `index` of the `blocks` blocks of a group whose weights begin at `offset` of `data`. No other task may
    /// write the same block.
    pub(in crate::conv) fn transform_into(
        &self,
        ctx: &Context,
        data: SharedMut<'_, f32>,
        offset: usize,
        index: usize,
        blocks: usize,
    ) {
        let len = self.variant.taps(self.taps_z) * LANES * self.width;
        let point_stride = blocks * len;
        assert!(index < blocks && offset + self.variant.points() * point_stride <= data.len());
        assert!(self.results.1 <= self.width && self.sums.1 <= LANES && matches!(self.taps_z, 1 | 3));
        let output = data.as_mut_ptr().wrapping_add(offset + index * len);
        // SAFETY: the block lies in `data` as asserted, and belongs to this task.
        unsafe { transform_block(ctx.level(), &WeightTask { block: self, output, point_stride }) }
    }

    /// Transforms the block to `output + point * point_stride`, padding channels as zeros.
    ///
    /// # Safety
    /// `output` is valid for `taps * 16 * width` values at each point and nobody else uses it.
    #[inline(always)]
    unsafe fn transform<S: Simd>(&self, s: Isa<S>, output: *mut f32, point_stride: usize) {
        let taps = self.taps_z * 9;
        // One summed channel: [tap][result channel].
        let mut tile = [0.0_f32; pairs::POINTS * 9 * 2 * LANES];
        let points_z = if self.variant == Variant::W2Z { pairs::POINTS } else { self.taps_z };
        for sum in 0..LANES {
            if sum < self.sums.1 {
                let natural = &self.natural[self.first + sum * self.sums.0..];
                Taps { natural, results: self.results, taps, reversed: self.reversed }
                    .write(&mut tile, 2 * LANES);
            } else {
                tile.fill(0.0);
            }
            for lane in (0..self.width).step_by(S::LANES) {
                if self.variant == Variant::W2Z {
                    pairs::transform_weights(s, &mut tile[lane..]);
                }
                for z in 0..points_z {
                    // SAFETY: the nine taps of `z` lie in the tile, a vector at each.
                    let lines = unsafe {
                        let first = tile.as_ptr().add(z * 9 * 2 * LANES + lane);
                        [line(s, first), line(s, first.add(6 * LANES)), line(s, first.add(12 * LANES))]
                    };
                    let rows = Rows { output, point_stride, sum, width: self.width, lane };
                    for (x, ((top, middle), bottom)) in
                        lines[0].into_iter().zip(lines[1]).zip(lines[2]).enumerate()
                    {
                        let column = [top, middle, bottom];
                        match self.variant {
                            Variant::W1 => {
                                for (y, value) in column.into_iter().enumerate() {
                                    // SAFETY: point, tap and channels lie in the output.
                                    unsafe { rows.store(s, x, z * 3 + y, value) };
                                }
                            }
                            Variant::W2 | Variant::W2Z => {
                                for (y, value) in weight2(s, column).into_iter().enumerate() {
                                    // SAFETY: as above.
                                    unsafe { rows.store(s, y * 6 + x, z, value) };
                                }
                            }
                            Variant::W4 => {
                                for (y, value) in weight4(s, column).into_iter().enumerate() {
                                    // SAFETY: as above.
                                    unsafe { rows.store(s, y * 6 + x, z, value) };
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The six points along x of three taps, whose vectors lie 32 values apart.
///
/// A closure in its place is not compiled with the instructions of the level.
///
/// # Safety
/// A vector is valid at each tap.
#[inline(always)]
unsafe fn line<S: Simd>(s: Isa<S>, taps: *const f32) -> [S::Vector; 6] {
    // SAFETY: by the contract of this function.
    unsafe { weight4(s, [s.load(taps), s.load(taps.add(2 * LANES)), s.load(taps.add(4 * LANES))]) }
}

/// Where the transformed weights of one summed channel go.
#[derive(Clone, Copy)]
struct Rows {
    output: *mut f32,
    point_stride: usize,
    sum: usize,
    width: usize,
    lane: usize,
}

impl Rows {
    /// # Safety
    /// Point, tap and channels lie in the output.
    #[inline(always)]
    unsafe fn store<S: Simd>(self, s: Isa<S>, point: usize, tap: usize, value: S::Vector) {
        let at = point * self.point_stride + (tap * LANES + self.sum) * self.width + self.lane;
        // SAFETY: by the contract of this function.
        unsafe { s.store(self.output.add(at), value) }
    }
}

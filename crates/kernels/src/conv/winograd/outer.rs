//! The products of the weight gradient: a sum of outer products per Winograd point and tap.
//!
//! `W[16 source channels][width] += sum over positions of V[position][16] * E[position][width]`. The sums of one call start from
//! zero and are then added to those in memory, so that f32 sums stay short at each level of the hierarchy.

#![allow(unsafe_code)]

use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// Operands of one point and tap.
#[derive(Clone, Copy)]
pub(super) struct Outer {
    /// V at the first position; positions are consecutive vectors of 16.
    pub(super) source: *const f32,
    /// E at the first position; positions are consecutive vectors of `width`.
    pub(super) gradient: *const f32,
    /// Result channels: 16 or 32.
    pub(super) width: usize,
    /// Number of positions.
    pub(super) positions: usize,
    /// Sums `[16][width]`, added to.
    pub(super) sums: *mut f32,
}

/// Adds the sums of all positions.
///
/// # Safety
/// All addresses that the operands describe are valid; nobody else uses the sums.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd>(s: Isa<S>, operands: &Outer) {
    // SAFETY: by the contract of this function; the vectors divide the width.
    unsafe {
        if S::LANES == LANES && operands.width == LANES {
            tile::<S, 16, 1>(s, operands, 0);
        } else if S::LANES == LANES {
            tile::<S, 8, 2>(s, operands, 0);
            tile::<S, 8, 2>(s, operands, 8);
        } else {
            // Sixteen registers: up to twelve sums, two gradients, a broadcast source.
            tile::<S, 6, 2>(s, operands, 0);
            tile::<S, 5, 2>(s, operands, 6);
            tile::<S, 5, 2>(s, operands, 11);
        }
    }
}

/// `CHANNELS` source channels from `first` on, `VECTORS` vectors of result channels at a time.
#[inline(always)]
unsafe fn tile<S: Simd, const CHANNELS: usize, const VECTORS: usize>(
    s: Isa<S>,
    operands: &Outer,
    first: usize,
) {
    let width = operands.width;
    for channel in (0..width).step_by(VECTORS * S::LANES) {
        let mut sums = [[s.zero(); VECTORS]; CHANNELS];
        // SAFETY: positions, source channels and result channels lie in the operands.
        unsafe {
            let mut source = operands.source.add(first);
            let mut gradient = operands.gradient.add(channel);
            for _ in 0..operands.positions {
                let gradients: [S::Vector; VECTORS] =
                    array!(|vector| s.load(gradient.add(vector * S::LANES)));
                for (lane, sums) in sums.iter_mut().enumerate() {
                    let value = s.broadcast(source.add(lane));
                    for (sum, gradient) in sums.iter_mut().zip(gradients) {
                        *sum = s.mul_add(value, gradient, *sum);
                    }
                }
                source = source.add(LANES);
                gradient = gradient.add(width);
            }
            for (lane, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    let target = operands.sums.add((first + lane) * width + channel + vector * S::LANES);
                    s.store(target, s.add(s.load(target), *sum));
                }
            }
        }
    }
}

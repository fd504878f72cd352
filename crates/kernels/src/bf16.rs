//! Rounding to bf16: to the nearest, ties to the even one, as PyTorch rounds.
//!
//! The relative error is at most 2^-9 (of denormal values the absolute one is tiny), what lies beyond the largest value becomes infinite, NaN
//! stays NaN.

#![allow(unsafe_code)]

use crate::simd::{Isa, Simd, at_level};

/// The bits of the bf16 nearest to `value`.
#[inline(always)]
pub(crate) fn narrow(value: f32) -> u16 {
    let bits = value.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // The payload of a NaN could round to that of an infinity.
    (if value.is_nan() { bits | 0x0040_0000 } else { nearest } >> 16) as u16
}

/// Values to be rounded.
pub(crate) struct Piece {
    pub(crate) from: *const f32,
    pub(crate) to: *mut u16,
    /// A multiple of 16.
    pub(crate) count: usize,
}

at_level! {
    /// # Safety
    /// Both places are valid for `count` values and nobody else uses what is written.
    pub(crate) unsafe fn round = round_piece(piece: &Piece)
}

/// # Safety
/// As [`round`].
#[inline(always)]
pub(crate) unsafe fn round_piece<S: Simd>(s: Isa<S>, piece: &Piece) {
    for at in (0..piece.count).step_by(S::LANES) {
        // SAFETY: by the contract of this function.
        unsafe { s.store_bf16(piece.to.add(at), s.load(piece.from.add(at))) };
    }
}

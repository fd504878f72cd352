//! F(2, 3) along z, around the products of the transform domain.
//!
//! Two result planes follow from four consecutive planes of V: `P = B^T V` along z for each point and channel, products at four points
//! along z, and `A^T M` for the two planes ([`super::pair_products`]). The weight gradient forms pairs of the planes of the output's
//! gradient too.

#![allow(unsafe_code)]

use super::transform::{gradient2, input2, weight_gradient2, weight2};
use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// Points along z.
pub(super) const POINTS: usize = 4;

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

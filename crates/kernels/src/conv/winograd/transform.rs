//! The one-dimensional Winograd transforms, on vectors of channels.
//!
//! F(m, 3) computes m outputs of a three-tap correlation from m + 2 inputs with m + 2 products:
//! `y = A^T [(G g) o (B^T d)]`, with the interpolation points 0, 1, -1, infinity for m = 2 and
//! 0, 1, -1, 2, -2, infinity for m = 4 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", 2015). Two-dimensional forms apply one transform along x and then one along y.
//!
//! The weight gradient uses the transposes: `dg = G^T [(A dy) o (B^T d)]`.
//!
//! All functions are exact in exact arithmetic; in f32 F(2, 3) loses about as much as a direct sum
//! and F(4, 3) about three times as much per output, which the fewer additions over channels win back.

use crate::simd::{Isa, Simd};

/// `B^T d` of F(4, 3): six inputs to six points.
#[inline(always)]
pub(super) fn input4<S: Simd>(s: Isa<S>, d: [S::Vector; 6]) -> [S::Vector; 6] {
    let (four, two) = (s.splat(4.0), s.splat(2.0));
    let (minus_four, minus_five) = (s.splat(-4.0), s.splat(-5.0));
    let even = s.mul_add(minus_four, d[2], d[4]);
    let odd = s.mul_add(minus_four, d[1], d[3]);
    let even2 = s.sub(d[4], d[2]);
    let odd2 = s.mul(two, s.sub(d[3], d[1]));
    [
        s.mul_add(four, d[0], s.mul_add(minus_five, d[2], d[4])),
        s.add(even, odd),
        s.sub(even, odd),
        s.add(even2, odd2),
        s.sub(even2, odd2),
        s.mul_add(four, d[1], s.mul_add(minus_five, d[3], d[5])),
    ]
}

/// `B^T d` of F(2, 3): four inputs to four points.
#[inline(always)]
pub(super) fn input2<S: Simd>(s: Isa<S>, d: [S::Vector; 4]) -> [S::Vector; 4] {
    [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]
}

/// `A^T m` of F(4, 3): six points to four outputs.
#[inline(always)]
pub(super) fn output4<S: Simd>(s: Isa<S>, m: [S::Vector; 6]) -> [S::Vector; 4] {
    let (sum1, difference1) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum2, difference2) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(s.add(m[0], sum1), sum2),
        s.mul_add(s.splat(2.0), difference2, difference1),
        s.mul_add(s.splat(4.0), sum2, sum1),
        s.add(s.mul_add(s.splat(8.0), difference2, difference1), m[5]),
    ]
}

/// `A^T m` of F(2, 3): four points to two outputs.
#[inline(always)]
pub(super) fn output2<S: Simd>(s: Isa<S>, m: [S::Vector; 4]) -> [S::Vector; 2] {
    [s.add(m[0], s.add(m[1], m[2])), s.sub(s.sub(m[1], m[2]), m[3])]
}

/// `G g` of F(4, 3): three weights to six points.
#[inline(always)]
pub(super) fn weight4<S: Simd>(s: Isa<S>, g: [S::Vector; 3]) -> [S::Vector; 6] {
    let sixth = s.splat(-1.0 / 6.0);
    let outer = s.add(g[0], g[2]);
    let near = s.mul_add(s.splat(4.0), g[2], g[0]);
    let twice = s.mul(s.splat(2.0), g[1]);
    let scale = s.splat(1.0 / 24.0);
    [
        s.mul(s.splat(0.25), g[0]),
        s.mul(sixth, s.add(outer, g[1])),
        s.mul(sixth, s.sub(outer, g[1])),
        s.mul(scale, s.add(near, twice)),
        s.mul(scale, s.sub(near, twice)),
        g[2],
    ]
}

/// `G g` of F(2, 3): three weights to four points.
#[inline(always)]
pub(super) fn weight2<S: Simd>(s: Isa<S>, g: [S::Vector; 3]) -> [S::Vector; 4] {
    let half = s.splat(0.5);
    let outer = s.add(g[0], g[2]);
    [g[0], s.mul(half, s.add(outer, g[1])), s.mul(half, s.sub(outer, g[1])), g[2]]
}
/// `A dy` of F(4, 3): four output gradients to six points.
#[inline(always)]
pub(super) fn gradient4<S: Simd>(s: Isa<S>, y: [S::Vector; 4]) -> [S::Vector; 6] {
    let (even, odd) = (s.add(y[0], y[2]), s.add(y[1], y[3]));
    let even2 = s.mul_add(s.splat(4.0), y[2], y[0]);
    let odd2 = s.mul(s.splat(2.0), s.mul_add(s.splat(4.0), y[3], y[1]));
    [y[0], s.add(even, odd), s.sub(even, odd), s.add(even2, odd2), s.sub(even2, odd2), y[3]]
}

/// `A dy` of F(2, 3): two output gradients to four points.
#[inline(always)]
pub(super) fn gradient2<S: Simd>(s: Isa<S>, y: [S::Vector; 2]) -> [S::Vector; 4] {
    [y[0], s.add(y[0], y[1]), s.sub(y[0], y[1]), s.sub(s.splat(0.0), y[1])]
}

/// `G^T u` of F(4, 3): six points to three weight gradients.
#[inline(always)]
pub(super) fn weight_gradient4<S: Simd>(s: Isa<S>, u: [S::Vector; 6]) -> [S::Vector; 3] {
    let (sum1, difference1) = (s.add(u[1], u[2]), s.sub(u[2], u[1]));
    let (sum2, difference2) = (s.add(u[3], u[4]), s.sub(u[3], u[4]));
    let sixth = s.splat(1.0 / 6.0);
    [
        s.mul_add(s.splat(0.25), u[0], s.mul(s.splat(1.0 / 24.0), s.mul_add(s.splat(-4.0), sum1, sum2))),
        s.mul(sixth, s.mul_add(s.splat(0.5), difference2, difference1)),
        s.mul_add(sixth, s.sub(sum2, sum1), u[5]),
    ]
}

/// `G^T u` of F(2, 3): four points to three weight gradients.
#[inline(always)]
pub(super) fn weight_gradient2<S: Simd>(s: Isa<S>, u: [S::Vector; 4]) -> [S::Vector; 3] {
    let half = s.splat(0.5);
    let sum = s.add(u[1], u[2]);
    [s.mul_add(half, sum, u[0]), s.mul(half, s.sub(u[1], u[2])), s.mul_add(half, sum, u[3])]
}

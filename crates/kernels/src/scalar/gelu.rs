//! GELU as plain loops, in f64 with the error function as a series or a continued fraction.

use super::conv::write_target;
use crate::activation::leaky;
use crate::conv::{GradientTarget, Source};
use crate::layout::{BlockedShape, LANES};

/// The error function: its Taylor series near zero, else the continued fraction of its complement.
fn erf(x: f64) -> f64 {
    const ROOT_PI: f64 = 1.772_453_850_905_516;
    let size = x.abs();
    if size < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 2.0 / ROOT_PI * sum;
    }
    let fraction = (1..200).rev().fold(size, |below, k| size + f64::from(k) / 2.0 / below);
    let complement = (-size * size).exp() / (ROOT_PI * fraction);
    (1.0 - complement).copysign(x)
}

fn below(x: f64) -> f64 {
    0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Calls `visit` with the index and what a consumer sees of every value, padding channels included.
fn for_each_value(shape: &BlockedShape, source: &Source<'_>, mut visit: impl FnMut(usize, f64)) {
    for index in 0..source.data.len() {
        let value = source.data.get(index);
        let at = index / (shape.voxels() * LANES) * LANES + index % LANES;
        let seen =
            source.affine.map_or(value, |a| leaky(value.mul_add(a.scale[at], a.shift[at]), a.negative_slope));
        visit(index, f64::from(seen));
    }
}

/// GELU of what a consumer sees, see [`crate::gelu::forward`].
pub fn gelu_forward(shape: &BlockedShape, source: &Source<'_>, output: &mut [f32]) {
    for_each_value(shape, source, |index, x| output[index] = (x * below(x)) as f32);
}

/// Gradient with respect to what a consumer sees, see [`crate::gelu::backward`].
pub fn gelu_backward(
    shape: &BlockedShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_source: &mut GradientTarget<'_>,
) {
    for_each_value(shape, source, |index, x| {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        write_target(grad_source, index, f64::from(grad_output[index]) * (below(x) + x * density));
    });
}

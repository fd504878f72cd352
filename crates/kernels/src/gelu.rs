//! GELU in its exact form, `x * (1 + erf(x / sqrt 2)) / 2` (PyTorch's default), and its gradient.
//!
//! Plain code that compilers turn into vectors, compiled for each instruction set. The error function is a rational
//! function in f64, fitted to 2e-9 for this purpose, so that results differ from the exact ones by little more than the rounding to f32.

#![allow(unsafe_code)]

use std::f64::consts::FRAC_1_SQRT_2;

use crate::activation::{for_each_block, for_each_piece};
use crate::conv::{GradientTarget, Source, WriteMode};
use crate::error::check_length;
use crate::exponential::exp_nonpositive;
use crate::layout::{BlockedShape, LANES};
use crate::values::{Element, Values, ValuesMut};
use crate::{Context, CpuLevel, KernelError};

/// Scale, shift and slope of one block of channels.
struct BlockAffine {
    scale: [f32; LANES],
    shift: [f32; LANES],
    negative_slope: f32,
}

impl BlockAffine {
    /// That of block `block`, counted over all samples, of a source whose lengths have been checked.
    fn of(source: &Source<'_>, block: usize) -> Self {
        let mut own = Self { scale: [1.0; LANES], shift: [0.0; LANES], negative_slope: 1.0 };
        if let Some(affine) = source.affine {
            own.scale.copy_from_slice(&affine.scale[block * LANES..][..LANES]);
            own.shift.copy_from_slice(&affine.shift[block * LANES..][..LANES]);
            own.negative_slope = affine.negative_slope;
        }
        own
    }

    #[inline(always)]
    fn apply(&self, lane: usize, value: f32) -> f32 {
        crate::activation::leaky(value * self.scale[lane] + self.shift[lane], self.negative_slope)
    }
}

/// Coefficients of the error function's rational form, highest power of x^2 first and without it.
const NUMERATOR: [f64; 6] = [
    4.684_223_876_470_7e-6,
    3.795_898_733_002_23e-4,
    3.849_628_217_991_34e-3,
    5.431_669_395_126_24e-2,
    1.852_051_082_883_126_6e-1,
    1.128_379_167_371_984_2,
];
const DENOMINATOR: [f64; 5] = [
    1.307_547_791_302_239_5e-3,
    1.546_205_683_384_307_5e-2,
    1.139_587_818_254_603_6e-1,
    4.974_671_673_371_986e-1,
    1.0,
];

/// erf(x) for any x, within 1.6e-8; exactly 1 and -1 from 4 on. NaN stays NaN.
#[inline(always)]
fn erf(x: f64) -> f64 {
    let t = x * x;
    let mut p = -1.319_949_118_837e-8_f64;
    for c in NUMERATOR {
        p = p * t + c;
    }
    let mut q = 6.310_534_905_189_9e-5_f64;
    for c in DENOMINATOR {
        q = q * t + c;
    }
    let inner = x * p / q;
    let outer = if x > 0.0 { 1.0 } else { -1.0 };
    if t >= 16.0 { outer } else { inner }
}

/// Probability that a standard normal variable is below `x`.
#[inline(always)]
fn normal_below(x: f32) -> f64 {
    0.5 * (1.0 + erf(f64::from(x) * FRAC_1_SQRT_2))
}

/// GELU of one value.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    (f64::from(x) * normal_below(x)) as f32
}

/// Derivative of [`gelu`] at `x`; NaN for infinities, as in PyTorch.
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    const INVERSE_SQRT_TAU: f32 = 0.398_942_3;
    let exponent = -0.5 * x * x;
    let density = if exponent < -87.0 { 0.0 } else { INVERSE_SQRT_TAU * exp_nonpositive(exponent) };
    normal_below(x) as f32 + x * density
}

/// GELU of the values of `source` as a consumer sees them (its normalisation and activation come first).
///
/// # Errors
/// If a length does not fit `shape` or a slope is outside of 0 to 1.
pub fn forward<'a>(
    ctx: &Context,
    shape: &BlockedShape,
    source: &Source<'_>,
    output: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let output = output.into().shared();
    source.check(shape)?;
    check_length("output", output.len(), shape.len())?;
    let table = table(ctx.level());
    for_each_piece(ctx, shape, |block, first, len| {
        let affine = BlockAffine::of(source, block);
        // SAFETY: each task has a piece of its own; the level is one that the CPU has.
        unsafe {
            match (source.data.part(first, len), output.part(first, len)) {
                (Values::F32(piece), ValuesMut::F32(lanes)) => (table.forward)(piece, &affine, lanes),
                (Values::Bf16(piece), ValuesMut::F32(lanes)) => (table.forward_bf16)(piece, &affine, lanes),
                (Values::F32(piece), ValuesMut::Bf16(lanes)) => {
                    (table.forward_to_bf16)(piece, &affine, lanes)
                }
                (Values::Bf16(piece), ValuesMut::Bf16(lanes)) => {
                    (table.forward_both_bf16)(piece, &affine, lanes)
                }
            }
        }
    });
    Ok(())
}

/// Gradient with respect to the values of `source` as [`forward`] sees them.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    ctx: &Context,
    shape: &BlockedShape,
    source: &Source<'_>,
    grad_output: &[f32],
    grad_source: &mut GradientTarget<'_>,
) -> Result<(), KernelError> {
    source.check(shape)?;
    check_length("gradient of the output", grad_output.len(), shape.len())?;
    check_length("gradient of the source", grad_source.data.len(), shape.len())?;
    let table = table(ctx.level());
    let accumulate = grad_source.mode == WriteMode::Accumulate;
    for_each_block(ctx, shape, grad_source.data, |block, first, lanes| {
        let (affine, gradient) = (BlockAffine::of(source, block), &grad_output[first..][..lanes.len()]);
        // SAFETY: the level is one that the CPU has.
        unsafe {
            match source.data.part(first, lanes.len()) {
                Values::F32(piece) => (table.backward)(piece, &affine, gradient, lanes, accumulate),
                Values::Bf16(piece) => (table.backward_bf16)(piece, &affine, gradient, lanes, accumulate),
            }
        }
    });
    Ok(())
}

#[inline(always)]
fn forward_piece<E: Element, O: Element>(source: &[E], affine: &BlockAffine, output: &mut [O]) {
    for (values, output) in source.chunks_exact(LANES).zip(output.chunks_exact_mut(LANES)) {
        for lane in 0..LANES {
            output[lane] = O::from_f32(gelu(affine.apply(lane, values[lane].to_f32())));
        }
    }
}

#[inline(always)]
fn backward_piece<E: Element>(
    source: &[E],
    affine: &BlockAffine,
    gradient: &[f32],
    target: &mut [f32],
    accumulate: bool,
) {
    let pieces = source.chunks_exact(LANES).zip(gradient.chunks_exact(LANES));
    for ((values, gradient), target) in pieces.zip(target.chunks_exact_mut(LANES)) {
        for lane in 0..LANES {
            let before = if accumulate { target[lane] } else { 0.0 };
            target[lane] = before + gradient[lane] * gelu_slope(affine.apply(lane, values[lane].to_f32()));
        }
    }
}

/// The passes of an instruction set.
struct Table {
    forward: unsafe fn(&[f32], &BlockAffine, &mut [f32]),
    forward_bf16: unsafe fn(&[u16], &BlockAffine, &mut [f32]),
    forward_to_bf16: unsafe fn(&[f32], &BlockAffine, &mut [u16]),
    forward_both_bf16: unsafe fn(&[u16], &BlockAffine, &mut [u16]),
    backward: unsafe fn(&[f32], &BlockAffine, &[f32], &mut [f32], bool),
    backward_bf16: unsafe fn(&[u16], &BlockAffine, &[f32], &mut [f32], bool),
}

macro_rules! table {
    ($table:ident $(, $feature:literal)?) => {
        static $table: Table = {
            /// # Safety
            /// The CPU has the features.
            $(#[target_feature(enable = $feature)])?
            unsafe fn forward_entry<E: Element, O: Element>(source: &[E], affine: &BlockAffine, output: &mut [O]) {
                forward_piece(source, affine, output);
            }
            /// # Safety
            /// The CPU has the features.
            $(#[target_feature(enable = $feature)])?
            unsafe fn backward_entry<E: Element>(
                source: &[E], affine: &BlockAffine, gradient: &[f32], target: &mut [f32], accumulate: bool,
            ) {
                backward_piece(source, affine, gradient, target, accumulate);
            }
            Table {
                forward: forward_entry::<f32, f32>,
                forward_bf16: forward_entry::<u16, f32>,
                forward_to_bf16: forward_entry::<f32, u16>,
                forward_both_bf16: forward_entry::<u16, u16>,
                backward: backward_entry::<f32>,
                backward_bf16: backward_entry::<u16>,
            }
        };
    };
}

table!(PORTABLE);
#[cfg(target_arch = "x86_64")]
table!(AVX2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
table!(AVX512, "avx512f,avx512dq,avx512vl");

fn table(level: CpuLevel) -> &'static Table {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &AVX2,
        _ => &PORTABLE,
    }
}

//! LeakyReLU, residual addition and the passes that materialise a fused activation. Memory-bound; one pass each.

use crate::conv::Source;
use crate::conv::direct::row_table;
use crate::conv::direct::rows::{BlockAffine, LaneAffine, Leaky};
use crate::error::{check_length, check_slope};
use crate::layout::{BlockedShape, LANES};
use crate::memory::SharedMut;
use crate::simd::{Isa, Simd, at_level};
use crate::values::{Element, SharedValues, Values, ValuesMut};
use crate::{Context, KernelError};

/// Writes the values of `source` as a consumer sees them: `leaky(x * scale + shift)`.
///
/// # Errors
/// If a length does not fit `shape` or a slope is outside of 0 to 1.
pub fn apply<'a>(
    ctx: &Context,
    shape: &BlockedShape,
    source: &Source<'_>,
    output: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let output = output.into().shared();
    source.check(shape)?;
    check_length("output", output.len(), shape.len())?;
    let rows = row_table(ctx.level());
    for_each_piece(ctx, shape, |block, first, len| {
        let values = source.data.part(first, len);
        let affine = BlockAffine::of(source, block);
        // SAFETY: each task has a piece of its own; both have the length that is given, and are blocks of 16 channels; the level is one
        // that the CPU has.
        #[allow(unsafe_code)]
        unsafe {
            rows.pack(values, output.part(first, len), len / LANES, LANES, affine);
        }
    });
    Ok(())
}

/// Residual addition: `output = leaky(a + b)`, each of the two with its own normalisation and activation first.
///
/// # Errors
/// If a length does not fit `shape`, a slope is outside of 0 to 1, or the output is bf16 and a term is not.
pub fn add<'a>(
    ctx: &Context,
    shape: &BlockedShape,
    a: &Source<'_>,
    b: &Source<'_>,
    negative_slope: f32,
    output: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let output = output.into().shared();
    a.check(shape)?;
    b.check(shape)?;
    check_length("output", output.len(), shape.len())?;
    check_slope(negative_slope)?;
    let is_bf16 = |source: &Source<'_>| matches!(source.data, Values::Bf16(_));
    if matches!(output, SharedValues::Bf16(_)) && !(is_bf16(a) && is_bf16(b)) {
        return Err(KernelError::Unsupported {
            what: "type of a term of a bf16 sum",
            found: "f32".into(),
            supported: "bf16",
        });
    }
    for_each_piece(ctx, shape, |block, first, len| {
        let affines = [BlockAffine::of(a, block), BlockAffine::of(b, block)];
        let (a, b) = (a.data.part(first, len), b.data.part(first, len));
        let level = ctx.level();
        // SAFETY: each task has a piece of its own; both terms hold its values; the level is one that the CPU has.
        #[allow(unsafe_code)]
        unsafe {
            match (a, b, output.part(first, len)) {
                (Values::F32(a), Values::F32(b), ValuesMut::F32(lanes)) => {
                    add_piece(level, &mut Sum::new(a, b, affines, negative_slope, lanes));
                }
                (Values::Bf16(a), Values::Bf16(b), ValuesMut::F32(lanes)) => {
                    add_piece_bf16(level, &mut Sum::new(a, b, affines, negative_slope, lanes));
                }
                (Values::F32(a), Values::Bf16(b), ValuesMut::F32(lanes)) => {
                    add_piece_second_bf16(level, &mut Sum::new(a, b, affines, negative_slope, lanes));
                }
                (Values::Bf16(a), Values::F32(b), ValuesMut::F32(lanes)) => {
                    add_piece_first_bf16(level, &mut Sum::new(a, b, affines, negative_slope, lanes));
                }
                (Values::Bf16(a), Values::Bf16(b), ValuesMut::Bf16(lanes)) => {
                    add_piece_to_bf16(level, &mut Sum::new(a, b, affines, negative_slope, lanes));
                }
                // Refused above.
                _ => unreachable!("a bf16 sum of f32"),
            }
        }
    });
    Ok(())
}

/// Gradient through a LeakyReLU, in place: where `activated` (the output of the activation; its sign is that of the input) is not
/// positive, `gradient` is multiplied by `negative_slope`.
///
/// # Errors
/// If a length does not fit `shape` or the slope is outside of 0 to 1.
pub fn leaky_relu_backward(
    ctx: &Context,
    shape: &BlockedShape,
    activated: Values<'_>,
    negative_slope: f32,
    gradient: &mut [f32],
) -> Result<(), KernelError> {
    check_length("activated output", activated.len(), shape.len())?;
    check_length("gradient", gradient.len(), shape.len())?;
    check_slope(negative_slope)?;
    for_each_block(ctx, shape, gradient, |_, first, lanes| match activated.part(first, lanes.len()) {
        Values::F32(activated) => multiply_by_slope(activated, negative_slope, lanes),
        Values::Bf16(activated) => multiply_by_slope(activated, negative_slope, lanes),
    });
    Ok(())
}

/// Multiplies by the slope where the activated value is not positive.
fn multiply_by_slope<E: Element>(activated: &[E], negative_slope: f32, gradient: &mut [f32]) {
    for (gradient, activated) in gradient.iter_mut().zip(activated) {
        *gradient *= if activated.to_f32() > 0.0 { 1.0 } else { negative_slope };
    }
}

/// `target += values`: the sum of gradients that reach one tensor from several consumers.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn accumulate(
    ctx: &Context,
    shape: &BlockedShape,
    values: &[f32],
    target: &mut [f32],
) -> Result<(), KernelError> {
    check_length("values", values.len(), shape.len())?;
    check_length("target", target.len(), shape.len())?;
    for_each_block(ctx, shape, target, |_, first, lanes| {
        for (target, value) in lanes.iter_mut().zip(&values[first..]) {
            *target += value;
        }
    });
    Ok(())
}

/// LeakyReLU of one value, or ReLU as the slope 0; NaN passes through.
#[inline(always)]
pub(crate) fn leaky(value: f32, negative_slope: f32) -> f32 {
    if value > 0.0 {
        value
    } else if negative_slope == 0.0 && value == f32::NEG_INFINITY {
        0.0
    } else {
        value * negative_slope
    }
}

/// One term of a sum: a piece of a block of a source.
struct Term<E> {
    values: *const E,
    affine: Option<BlockAffine>,
}

impl<E> Term<E> {
    /// Its normalisation and activation for the channels `lane..lane + S::LANES`.
    ///
    /// # Safety
    /// The affine's pointers are valid for 16 values.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn lanes<S: Simd>(&self, s: Isa<S>, lane: usize) -> LaneAffine<S::Vector> {
        match self.affine {
            None => LaneAffine::identity(s),
            // SAFETY: by the contract of this function.
            Some(affine) => unsafe { affine.lanes(s, lane) },
        }
    }
}

/// A piece of a residual addition.
struct Sum<'a, A, B, O> {
    a: Term<A>,
    b: Term<B>,
    negative_slope: f32,
    output: &'a mut [O],
}

impl<'a, A, B, O> Sum<'a, A, B, O> {
    fn new(
        a: &[A],
        b: &[B],
        affines: [Option<BlockAffine>; 2],
        negative_slope: f32,
        output: &'a mut [O],
    ) -> Self {
        let [affine_a, affine_b] = affines;
        let a = Term { values: a.as_ptr(), affine: affine_a };
        let b = Term { values: b.as_ptr(), affine: affine_b };
        Self { a, b, negative_slope, output }
    }
}

at_level! {
    /// # Safety
    /// The terms are valid for as many values as the output has, their affines for 16.
    #[allow(unsafe_code)]
    unsafe fn add_piece = add_piece_of(sum: &mut Sum<'_, f32, f32, f32>)
}

at_level! {
    /// # Safety
    /// As [`add_piece`].
    #[allow(unsafe_code)]
    unsafe fn add_piece_bf16 = add_piece_of(sum: &mut Sum<'_, u16, u16, f32>)
}

at_level! {
    /// # Safety
    /// As [`add_piece`].
    #[allow(unsafe_code)]
    unsafe fn add_piece_to_bf16 = add_piece_of(sum: &mut Sum<'_, u16, u16, u16>)
}

at_level! {
    /// # Safety
    /// As [`add_piece`].
    #[allow(unsafe_code)]
    unsafe fn add_piece_first_bf16 = add_piece_of(sum: &mut Sum<'_, u16, f32, f32>)
}

at_level! {
    /// # Safety
    /// As [`add_piece`].
    #[allow(unsafe_code)]
    unsafe fn add_piece_second_bf16 = add_piece_of(sum: &mut Sum<'_, f32, u16, f32>)
}

/// # Safety
/// As [`add_piece`].
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn add_piece_of<S: Simd, A: Element, B: Element, O: Element>(s: Isa<S>, sum: &mut Sum<'_, A, B, O>) {
    let leaky = Leaky::new(s, sum.negative_slope);
    let (a, b) = (&sum.a, &sum.b);
    for lane in (0..LANES).step_by(S::LANES) {
        // SAFETY: by the contract of this function; the lanes lie in the 16 values of each voxel.
        unsafe {
            let (affine_a, affine_b) = (a.lanes(s, lane), b.lanes(s, lane));
            for (voxel, output) in sum.output.chunks_exact_mut(LANES).enumerate() {
                let at = voxel * LANES + lane;
                let value_a = affine_a.apply(s, A::load::<S>(a.values.add(at)));
                let value_b = affine_b.apply(s, B::load::<S>(b.values.add(at)));
                O::store::<S>(output[lane..].as_mut_ptr(), leaky.apply(s, s.add(value_a, value_b)));
            }
        }
    }
}

/// Runs `work(block over all samples, index of its first value, its values)` over pieces of `data`.
pub(crate) fn for_each_block(
    ctx: &Context,
    shape: &BlockedShape,
    data: &mut [f32],
    work: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let data = SharedMut::new(data);
    // SAFETY: each task has a piece of a block of its own.
    #[allow(unsafe_code)]
    for_each_piece(ctx, shape, |block, first, len| work(block, first, unsafe { data.part(first, len) }));
}

/// Runs `work(block over all samples, index of its first value, number of values)` for pieces of a tensor.
pub(crate) fn for_each_piece(ctx: &Context, shape: &BlockedShape, work: impl Fn(usize, usize, usize) + Sync) {
    const PIECE: usize = 512;
    let voxels = shape.voxels();
    let pieces = voxels.div_ceil(PIECE);
    ctx.pool().par_for(shape.batch * shape.blocks() * pieces, |_, task| {
        let (block, piece) = (task / pieces, task % pieces);
        let count = (voxels - piece * PIECE).min(PIECE);
        work(block, (block * voxels + piece * PIECE) * LANES, count * LANES);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CpuLevel;
    use crate::conv::Affine;

    #[test]
    fn residual_and_its_gradient() {
        let ctx = Context::new(CpuLevel::detect(), 2);
        let shape = BlockedShape { batch: 2, channels: 16, spatial: [1, 1, 1] };
        let a: Vec<f32> = (0..32).map(|i| i as f32 - 15.0).collect();
        let (scale, shift) = (vec![2.0; 32], vec![1.0; 32]);
        let affine = Some(Affine { scale: &scale, shift: &shift, negative_slope: 0.5 });
        let mut out = vec![0.0; 32];
        add(&ctx, &shape, &Source { data: Values::F32(&a), affine }, &Source::raw(&a), 0.0, &mut out)
            .unwrap();
        for (value, out) in a.iter().zip(&out) {
            let first = if 2.0 * value + 1.0 > 0.0 { 2.0 * value + 1.0 } else { value + 0.5 };
            assert_eq!(*out, (first + value).max(0.0));
        }
        let mut gradient = vec![3.0; 32];
        leaky_relu_backward(&ctx, &shape, Values::F32(&out), 0.25, &mut gradient).unwrap();
        assert!(gradient.iter().zip(&out).all(|(g, o)| *g == if *o > 0.0 { 3.0 } else { 0.75 }));
        accumulate(&ctx, &shape, &a, &mut gradient).unwrap();
        assert_eq!(gradient[0], 0.75 - 15.0);
        let message =
            leaky_relu_backward(&ctx, &shape, Values::F32(&out), 2.0, &mut gradient).unwrap_err().to_string();
        assert_eq!(message, "negative slope is 2, supported is 0 to 1");
    }
}

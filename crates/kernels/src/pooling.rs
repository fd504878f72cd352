//! Average pooling with kernel = stride and no padding; voxels beyond the last whole window are dropped (PyTorch's `ceil_mode=False`).
//!
//! A task takes one output plane of one block of 16 channels. Forward, the windows of an output row are summed vector by vector, with
//! the source's normalisation and activation applied on load; backward, each input row of a window gets its share of the gradient.
//! Memory-bound: every value is read and written once.

#![allow(unsafe_code)]

use crate::conv::check_values;
use crate::conv::direct::rows::BlockAffine;
use crate::conv::{GradientTarget, Source, WriteMode};
use crate::error::{check_length, check_range};
use crate::layout::{BlockedShape, LANES};
use crate::memory::SharedMut;
use crate::simd::{Isa, Simd, at_level};
use crate::values::{Element, Values, ValuesMut};
use crate::{Context, KernelError};

/// Sizes of an average pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Shape of the input.
    pub input: BlockedShape,
    /// Window and stride (z, y, x).
    pub kernel: [usize; 3],
}

impl PoolShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// If a window is 0 or larger than the input.
    pub fn new(input: BlockedShape, kernel: [usize; 3]) -> Result<Self, KernelError> {
        let shape = Self { input, kernel };
        shape.check()?;
        Ok(shape)
    }

    /// What [`Self::new`] checks. Every kernel begins with it, since fields can be written by hand.
    fn check(&self) -> Result<(), KernelError> {
        for (window, size) in self.kernel.iter().zip(self.input.spatial) {
            check_range("pooling window", *window, 1..=size, "1 to the size of the input")?;
        }
        check_values("input", self.input.batch, self.input.blocks(), self.input.spatial)
    }

    /// Shape of the output.
    pub fn output(&self) -> BlockedShape {
        let spatial = std::array::from_fn(|axis| self.input.spatial[axis] / self.kernel[axis]);
        BlockedShape { spatial, ..self.input }
    }
}

/// Mean over each window of the (activated) source.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn average_forward<'a>(
    ctx: &Context,
    shape: &PoolShape,
    source: &Source<'_>,
    output: impl Into<ValuesMut<'a>>,
) -> Result<(), KernelError> {
    let target = output.into().shared();
    shape.check()?;
    source.check(&shape.input)?;
    let out = shape.output();
    check_length("output", target.len(), out.len())?;
    let [size_z, size_y, size_x] = out.spatial;
    let row = size_x * LANES;
    ctx.pool().par_for(out.batch * out.blocks() * size_z, |_, task| {
        let (block, z, level) = (task / size_z, task % size_z, ctx.level());
        let affine = BlockAffine::of(source, block);
        for y in 0..size_y {
            let first = shape.first_row(block, z, y);
            let values = source.data.part(first, source.data.len() - first);
            // SAFETY: each task writes an output plane of its own; `BlockAffine::of` points to 16 values each; the level is one that
            // the CPU has.
            unsafe {
                match (values, target.part((task * size_y + y) * row, row)) {
                    (Values::F32(values), ValuesMut::F32(results)) => {
                        mean_of_row(level, &mut (&Windows { shape, values, affine }, results));
                    }
                    (Values::Bf16(values), ValuesMut::F32(results)) => {
                        mean_of_row_bf16(level, &mut (&Windows { shape, values, affine }, results));
                    }
                    (Values::F32(values), ValuesMut::Bf16(results)) => {
                        mean_of_row_to_bf16(level, &mut (&Windows { shape, values, affine }, results));
                    }
                    (Values::Bf16(values), ValuesMut::Bf16(results)) => {
                        mean_of_row_both_bf16(level, &mut (&Windows { shape, values, affine }, results));
                    }
                }
            }
        }
    });
    Ok(())
}

/// Gradient with respect to the (activated) source.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn average_backward(
    ctx: &Context,
    shape: &PoolShape,
    grad_output: &[f32],
    grad_source: &mut GradientTarget<'_>,
) -> Result<(), KernelError> {
    shape.check()?;
    let out = shape.output();
    check_length("gradient of the output", grad_output.len(), out.len())?;
    check_length("gradient of the source", grad_source.data.len(), shape.input.len())?;
    let accumulate = grad_source.mode == WriteMode::Accumulate;
    let [size_z, size_y, size_x] = shape.input.spatial;
    let (row, plane) = (size_x * LANES, size_y * size_x * LANES);
    let target = SharedMut::new(&mut *grad_source.data);
    ctx.pool().par_for(out.batch * out.blocks() * size_z, |_, task| {
        let (block, z) = (task / size_z, task % size_z / shape.kernel[0]);
        // SAFETY: each task writes an input plane of its own.
        let results = unsafe { target.part(task * plane, plane) };
        for (y, results) in results.chunks_exact_mut(row).enumerate() {
            let y = y / shape.kernel[1];
            let inside = z < out.spatial[0] && y < out.spatial[1];
            let written = if inside { out.spatial[2] * shape.kernel[2] * LANES } else { 0 };
            let (results, beyond) = results.split_at_mut(written);
            if !accumulate {
                beyond.fill(0.0);
            }
            if inside {
                let first = ((block * out.spatial[0] + z) * out.spatial[1] + y) * out.spatial[2] * LANES;
                let share = Share { shape, gradient: &grad_output[first..], accumulate };
                // SAFETY: the level is one that the CPU has.
                unsafe { share_row(ctx.level(), &mut (&share, results)) };
            }
        }
    });
    Ok(())
}

impl PoolShape {
    /// Index of the first input value of the windows of output row (z, y).
    fn first_row(&self, block: usize, z: usize, y: usize) -> usize {
        let [size_z, size_y, size_x] = self.input.spatial;
        ((block * size_z + z * self.kernel[0]) * size_y + y * self.kernel[1]) * size_x * LANES
    }

    /// What each voxel of a window counts.
    fn weight(&self) -> f32 {
        1.0 / self.kernel.iter().product::<usize>() as f32
    }
}

/// The windows of one row of results.
struct Windows<'a, E> {
    shape: &'a PoolShape,
    /// The source from the first voxel of the first window on.
    values: &'a [E],
    affine: Option<BlockAffine>,
}

at_level! {
    /// # Safety
    /// The affine's pointers are valid for 16 values.
    unsafe fn mean_of_row = mean_of_row_of(task: &mut (&Windows<'_, f32>, &mut [f32]))
}

at_level! {
    /// # Safety
    /// As [`mean_of_row`].
    unsafe fn mean_of_row_bf16 = mean_of_row_of(task: &mut (&Windows<'_, u16>, &mut [f32]))
}

at_level! {
    /// # Safety
    /// As [`mean_of_row`].
    unsafe fn mean_of_row_to_bf16 = mean_of_row_of(task: &mut (&Windows<'_, f32>, &mut [u16]))
}

at_level! {
    /// # Safety
    /// As [`mean_of_row`].
    unsafe fn mean_of_row_both_bf16 = mean_of_row_of(task: &mut (&Windows<'_, u16>, &mut [u16]))
}

#[inline(always)]
unsafe fn mean_of_row_of<S: Simd, E: Element, O: Element>(
    s: Isa<S>,
    (windows, results): &mut (&Windows<'_, E>, &mut [O]),
) {
    for lane in (0..LANES).step_by(S::LANES) {
        match windows.affine {
            None => mean_of_lanes(
                s,
                windows,
                lane,
                results,
                #[inline(always)]
                |value| value,
            ),
            Some(affine) => {
                // SAFETY: by the contract of this function.
                let affine = unsafe { affine.lanes(s, lane) };
                mean_of_lanes(
                    s,
                    windows,
                    lane,
                    results,
                    #[inline(always)]
                    |value| affine.apply(s, value),
                );
            }
        }
    }
}

#[inline(always)]
fn mean_of_lanes<S: Simd, E: Element, O: Element>(
    s: Isa<S>,
    windows: &Windows<'_, E>,
    lane: usize,
    results: &mut [O],
    activate: impl Fn(S::Vector) -> S::Vector,
) {
    let [_, size_y, size_x] = windows.shape.input.spatial;
    let [kernel_z, kernel_y, kernel_x] = windows.shape.kernel;
    let weight = s.splat(windows.shape.weight());
    for (x, result) in results.chunks_exact_mut(LANES).enumerate() {
        let mut sum = s.zero();
        for row in 0..kernel_z * kernel_y {
            let row = (row / kernel_y * size_y + row % kernel_y) * size_x + x * kernel_x;
            for voxel in windows.values[row * LANES..][..kernel_x * LANES].chunks_exact(LANES) {
                // SAFETY: the lanes lie in the 16 values of the voxel; the token proves the instruction set.
                sum = s.add(sum, activate(unsafe { E::load::<S>(voxel[lane..].as_ptr()) }));
            }
        }
        // SAFETY: the lanes lie in the 16 values of the result; the token proves the instruction set.
        unsafe { O::store::<S>(result[lane..].as_mut_ptr(), s.mul(sum, weight)) };
    }
}

/// Gradients of a row of results, for one row of their windows.
struct Share<'a> {
    shape: &'a PoolShape,
    gradient: &'a [f32],
    accumulate: bool,
}

at_level! {
    /// # Safety
    /// None beyond that of the level.
    unsafe fn share_row = share_row_of(task: &mut (&Share<'_>, &mut [f32]))
}

#[inline(always)]
unsafe fn share_row_of<S: Simd>(s: Isa<S>, (share, results): &mut (&Share<'_>, &mut [f32])) {
    let weight = s.splat(share.shape.weight());
    let windows = results.chunks_exact_mut(share.shape.kernel[2] * LANES);
    for (window, gradient) in windows.zip(share.gradient.chunks_exact(LANES)) {
        for lane in (0..LANES).step_by(S::LANES) {
            // SAFETY: the lanes lie in the 16 values of the gradient.
            let part = s.mul(unsafe { s.load(gradient[lane..].as_ptr()) }, weight);
            for voxel in window.chunks_exact_mut(LANES) {
                let place = voxel[lane..].as_mut_ptr();
                // SAFETY: the lanes lie in the 16 values of the voxel.
                unsafe {
                    let before = if share.accumulate { s.load(place) } else { s.zero() };
                    s.store(place, s.add(before, part));
                }
            }
        }
    }
}

//! Passes over voxels for the gradient of a norm, per instruction set.

#![allow(unsafe_code)]

use crate::CpuLevel;
use crate::layout::LANES;
use crate::simd::Simd;
use crate::values::{Element, Values};

/// What a pass needs to know of one block of channels of one sample; 16 values each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormBlock {
    /// `x * scale + shift` is the input of the activation.
    pub(crate) scale: [f32; LANES],
    pub(crate) shift: [f32; LANES],
    pub(crate) mean: [f32; LANES],
    pub(crate) rstd: [f32; LANES],
    pub(crate) negative_slope: f32,
    /// The gradient of the input is `gradient * factor - (x - mean) * slant - offset`.
    pub(crate) factor: [f32; LANES],
    pub(crate) slant: [f32; LANES],
    pub(crate) offset: [f32; LANES],
}

/// Sums of the gradient before the activation, and of its products with the normalised values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NormSums {
    pub(crate) gradient: [f64; LANES],
    pub(crate) product: [f64; LANES],
}

/// Voxels that are summed in f32 before the sum goes to f64.
const RUN: usize = 128;

/// Adds the sums over `count` voxels.
///
/// # Safety
/// The CPU has the instruction set of `S`; `raw` and `gradient` are valid for `count * 16` values.
#[inline(always)]
unsafe fn sums<S: Simd, E: Element>(
    raw: *const E,
    gradient: *const f32,
    count: usize,
    block: &NormBlock,
    result: &mut NormSums,
) {
    for run in (0..count).step_by(RUN) {
        let in_run = RUN.min(count - run);
        let (mut total, mut product) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        // SAFETY: by the contract of this function; all arrays have 16 values.
        unsafe {
            for part in (0..LANES).step_by(S::LANES) {
                let (raw, gradient) = (raw.add(run * LANES + part), gradient.add(run * LANES + part));
                let (scale, shift) =
                    (S::load(block.scale.as_ptr().add(part)), S::load(block.shift.as_ptr().add(part)));
                let (mean, rstd) =
                    (S::load(block.mean.as_ptr().add(part)), S::load(block.rstd.as_ptr().add(part)));
                let slope = S::splat(block.negative_slope);
                let (mut sum, mut dot) = ([S::zero(); 2], [S::zero(); 2]);
                for at in 0..in_run {
                    let value = E::load::<S>(raw.add(at * LANES));
                    let upstream = S::load(gradient.add(at * LANES));
                    let before = S::fma(value, scale, shift);
                    let upstream = S::positive(before, upstream, S::mul(upstream, slope));
                    sum[at % 2] = S::add(sum[at % 2], upstream);
                    dot[at % 2] = S::fma(upstream, S::mul(S::sub(value, mean), rstd), dot[at % 2]);
                }
                S::store(total.as_mut_ptr().add(part), S::add(sum[0], sum[1]));
                S::store(product.as_mut_ptr().add(part), S::add(dot[0], dot[1]));
            }
        }
        for lane in 0..LANES {
            result.gradient[lane] += f64::from(total[lane]);
            result.product[lane] += f64::from(product[lane]);
        }
    }
}

/// Replaces the gradients of `count` voxels by those of the norm's input.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn write<S: Simd, E: Element>(raw: *const E, gradient: *mut f32, count: usize, block: &NormBlock) {
    // SAFETY: by the contract of this function; all arrays have 16 values.
    unsafe {
        for part in (0..LANES).step_by(S::LANES) {
            let (raw, gradient) = (raw.add(part), gradient.add(part));
            let (scale, shift) =
                (S::load(block.scale.as_ptr().add(part)), S::load(block.shift.as_ptr().add(part)));
            let (mean, slope) = (S::load(block.mean.as_ptr().add(part)), S::splat(block.negative_slope));
            let (factor, slant) =
                (S::load(block.factor.as_ptr().add(part)), S::load(block.slant.as_ptr().add(part)));
            let offset = S::load(block.offset.as_ptr().add(part));
            for at in 0..count {
                let value = E::load::<S>(raw.add(at * LANES));
                let upstream = S::load(gradient.add(at * LANES));
                let before = S::fma(value, scale, shift);
                let upstream = S::positive(before, upstream, S::mul(upstream, slope));
                let correction = S::fma(S::sub(value, mean), slant, offset);
                S::store(gradient.add(at * LANES), S::sub(S::mul(upstream, factor), correction));
            }
        }
    }
}

/// The passes of an instruction set.
pub(crate) struct NormTable {
    sums: unsafe fn(*const f32, *const f32, usize, &NormBlock, &mut NormSums),
    sums_bf16: unsafe fn(*const u16, *const f32, usize, &NormBlock, &mut NormSums),
    write: unsafe fn(*const f32, *mut f32, usize, &NormBlock),
    write_bf16: unsafe fn(*const u16, *mut f32, usize, &NormBlock),
}

impl NormTable {
    /// Adds the sums over all voxels of `raw` to `result`.
    ///
    /// # Safety
    /// The table is that of a level that the CPU has; `gradient` is valid for as many values as `raw`, which are whole voxels.
    pub(crate) unsafe fn sums(
        &self,
        raw: Values<'_>,
        gradient: *const f32,
        block: &NormBlock,
        result: &mut NormSums,
    ) {
        let count = raw.len() / LANES;
        // SAFETY: by the contract of this function.
        unsafe {
            match raw {
                Values::F32(raw) => (self.sums)(raw.as_ptr(), gradient, count, block, result),
                Values::Bf16(raw) => (self.sums_bf16)(raw.as_ptr(), gradient, count, block, result),
            }
        }
    }

    /// Replaces the gradients of all voxels of `raw` by those of the norm's input.
    ///
    /// # Safety
    /// As [`Self::sums`], and nobody else uses the gradients.
    pub(crate) unsafe fn write(&self, raw: Values<'_>, gradient: *mut f32, block: &NormBlock) {
        let count = raw.len() / LANES;
        // SAFETY: by the contract of this function.
        unsafe {
            match raw {
                Values::F32(raw) => (self.write)(raw.as_ptr(), gradient, count, block),
                Values::Bf16(raw) => (self.write_bf16)(raw.as_ptr(), gradient, count, block),
            }
        }
    }
}

macro_rules! norm_table {
    ($table:ident, $simd:ty $(, $feature:literal)?) => {
        static $table: NormTable = {
            /// # Safety
            /// As [`sums`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn sums_entry<E: Element>(
                raw: *const E, gradient: *const f32, count: usize, block: &NormBlock, result: &mut NormSums,
            ) {
                // SAFETY: by the contract of this function.
                unsafe { sums::<$simd, E>(raw, gradient, count, block, result) }
            }
            /// # Safety
            /// As [`write`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn write_entry<E: Element>(raw: *const E, gradient: *mut f32, count: usize, block: &NormBlock) {
                // SAFETY: by the contract of this function.
                unsafe { write::<$simd, E>(raw, gradient, count, block) }
            }
            NormTable {
                sums: sums_entry::<f32>,
                sums_bf16: sums_entry::<u16>,
                write: write_entry::<f32>,
                write_bf16: write_entry::<u16>,
            }
        };
    };
}

norm_table!(PORTABLE, crate::simd::Portable);
#[cfg(target_arch = "x86_64")]
norm_table!(AVX2, crate::simd::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
norm_table!(AVX512, crate::simd::Avx512, "avx512f");

/// The passes of a level.
pub(crate) fn norm_table(level: CpuLevel) -> &'static NormTable {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &AVX2,
        _ => &PORTABLE,
    }
}

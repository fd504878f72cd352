//! The microkernel of weight gradients: sums of outer products of 16 source channels and 32 (or 16) output channels over planes and
//! rows of positions. A few source channels at a time, their sums stay in registers over all positions.

use crate::layout::LANES;
use crate::simd::Simd;

/// Operands of the microkernel. Pointers and distances count `f32` values.
pub(super) struct Outer {
    /// Source value of the first position, first channel; positions are consecutive vectors of 16.
    pub(super) source: *const f32,
    pub(super) source_row: usize,
    pub(super) source_plane: usize,
    /// Gradient of the output at the first position, first channel.
    pub(super) gradient: *const f32,
    pub(super) gradient_row: usize,
    pub(super) gradient_plane: usize,
    pub(super) gradient_block: usize,
    pub(super) planes: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Sums `[16 source channels][output channels]`.
    pub(super) sums: *mut f32,
    /// Whether the sums are added to, or replaced.
    pub(super) add: bool,
}

/// A microkernel for weight gradients.
pub(super) type OuterKernel = unsafe fn(&Outer);

/// Those of an instruction set: for two blocks of output channels, and for one.
pub(super) struct OuterTable {
    pub(super) wide: OuterKernel,
    pub(super) narrow: OuterKernel,
}

/// `CHANNELS` source channels from `first` on and the `VECTORS` vectors of `S` of part `part` of `WIDTH` output channels.
///
/// # Safety
/// The CPU has the instruction set of `S`; all addresses that the operands describe are valid, and the sums are not shared.
#[inline(always)]
unsafe fn outer<S: Simd, const WIDTH: usize, const VECTORS: usize, const CHANNELS: usize>(
    operands: &Outer,
    part: usize,
    first: usize,
) {
    // SAFETY: all addresses are valid by the contract of this function.
    unsafe {
        let place = |channel: usize, vector: usize| {
            operands.sums.add((first + channel) * WIDTH + (part * VECTORS + vector) * S::LANES)
        };
        let mut sums = [[S::zero(); VECTORS]; CHANNELS];
        if operands.add {
            for (channel, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = S::load(place(channel, vector));
                }
            }
        }
        for plane in 0..operands.planes {
            let source = operands.source.add(plane * operands.source_plane + first);
            let gradient = operands.gradient.add(plane * operands.gradient_plane);
            for row in 0..operands.rows {
                let mut source = source.add(row * operands.source_row);
                let mut gradient = gradient.add(row * operands.gradient_row);
                for _ in 0..operands.columns {
                    let mut gradients = [S::zero(); VECTORS];
                    for (vector, value) in gradients.iter_mut().enumerate() {
                        let channel = (part * VECTORS + vector) * S::LANES;
                        *value = S::load(
                            gradient.add(channel / LANES * operands.gradient_block + channel % LANES),
                        );
                    }
                    for (channel, sums) in sums.iter_mut().enumerate() {
                        let value = S::broadcast(source.add(channel));
                        for (sum, gradient) in sums.iter_mut().zip(gradients) {
                            *sum = S::fma(value, gradient, *sum);
                        }
                    }
                    source = source.add(LANES);
                    gradient = gradient.add(LANES);
                }
            }
        }
        for (channel, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                S::store(place(channel, vector), *sum);
            }
        }
    }
}

/// A microkernel: `vectors` vectors of output channels at a time and some source channels one after the other. Sixteen registers hold
/// twelve sums, which hide the latency of the multiply-adds, two gradients and a source value.
macro_rules! outer_kernel {
    ($name:ident, $simd:ty, $width:expr, $vectors:literal [$($channels:literal)*] $(, $feature:literal)?) => {
        /// # Safety
        /// As [`outer`].
        $(#[target_feature(enable = $feature)])?
        unsafe fn $name(operands: &Outer) {
            const { assert!(0 $(+ $channels)* == LANES) };
            for part in 0..$width / ($vectors * <$simd>::LANES) {
                let first = 0;
                $(
                    // SAFETY: by the contract of this function.
                    unsafe { outer::<$simd, { $width }, $vectors, $channels>(operands, part, first) };
                    let first = first + $channels;
                )*
                let _ = first;
            }
        }
    };
}

/// The table of an instruction set: both widths as [`outer_kernel`] has them.
macro_rules! outer_table {
    ($table:ident, $simd:ty, $wide:literal [$($wide_channels:literal)*], $narrow:literal [$($narrow_channels:literal)*]
        $(, $feature:literal)?) => {
        pub(super) static $table: OuterTable = {
            outer_kernel!(wide, $simd, 2 * LANES, $wide [$($wide_channels)*] $(, $feature)?);
            outer_kernel!(narrow, $simd, LANES, $narrow [$($narrow_channels)*] $(, $feature)?);
            OuterTable { wide, narrow }
        };
    };
}

outer_table!(PORTABLE, crate::simd::Portable, 2 [4 4 4 4], 2 [4 4 4 4]);
#[cfg(target_arch = "x86_64")]
outer_table!(AVX2, crate::simd::Avx2, 2 [6 5 5], 2 [6 5 5], "avx2,fma");
#[cfg(target_arch = "x86_64")]
outer_table!(AVX512, crate::simd::Avx512, 2 [8 8], 1 [16], "avx512f");

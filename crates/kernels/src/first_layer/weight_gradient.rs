//! Weight gradient of a convolution of a plain image: per tap the sum over positions of image value times output gradient, for a
//! few taps at a time whose sums stay in registers.

use super::plain::{PlainTiles, groups};
use crate::conv::ConvShape;
use crate::conv::direct::micro::Tap;
use crate::layout::{LANES, padded};
use crate::memory::SharedMut;
use crate::simd::Simd;
use crate::{Context, CpuLevel};

/// Parts of the tiles with sums of their own, added in order at the end.
const PARTS: usize = 32;
/// Taps are padded to a multiple of this; every kernel's number of taps at a time divides it.
const TAPS: usize = 8;

/// Operands for one row of positions and [`TAPS`] taps.
struct Row {
    /// Image value of the first position, per tap.
    sources: [*const f32; TAPS],
    gradient: *const f32,
    gradient_block: usize,
    columns: usize,
    /// `[tap][output channel]`, added to.
    sums: *mut f32,
}

/// # Safety
/// The CPU has the instruction set of `S`; all addresses that the operands describe are valid, and the sums are not shared.
#[inline(always)]
unsafe fn outer<S: Simd, const WIDTH: usize, const VECTORS: usize, const AT_ONCE: usize>(row: &Row) {
    // SAFETY: all addresses are valid by the contract of this function.
    unsafe {
        for part in 0..WIDTH / (VECTORS * S::LANES) {
            for first in (0..TAPS).step_by(AT_ONCE) {
                let place = |tap: usize, vector: usize| {
                    row.sums.add((first + tap) * WIDTH + (part * VECTORS + vector) * S::LANES)
                };
                let mut sums = [[S::zero(); VECTORS]; AT_ONCE];
                let mut sources = [row.gradient; AT_ONCE];
                for (tap, sums) in sums.iter_mut().enumerate() {
                    sources[tap] = row.sources[first + tap];
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(place(tap, vector));
                    }
                }
                for column in 0..row.columns {
                    let mut gradients = [S::zero(); VECTORS];
                    for (vector, value) in gradients.iter_mut().enumerate() {
                        let channel = (part * VECTORS + vector) * S::LANES;
                        let block = channel / LANES * row.gradient_block + channel % LANES;
                        *value = S::load(row.gradient.add(column * LANES + block));
                    }
                    for (sums, source) in sums.iter_mut().zip(sources) {
                        let value = S::broadcast(source.add(column));
                        for (sum, gradient) in sums.iter_mut().zip(gradients) {
                            *sum = S::fma(value, gradient, *sum);
                        }
                    }
                }
                for (tap, sums) in sums.iter().enumerate() {
                    for (vector, sum) in sums.iter().enumerate() {
                        S::store(place(tap, vector), *sum);
                    }
                }
            }
        }
    }
}

/// Kernels of an instruction set for one block of output channels and for two.
type OuterTable = [unsafe fn(&Row); 2];

macro_rules! outer_table {
    ($table:ident, $simd:ty, $narrow:literal, $wide:literal, $at_once:literal $(, $feature:literal)?) => {
        static $table: OuterTable = {
            /// # Safety
            /// As [`outer`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn entry<const WIDTH: usize, const VECTORS: usize>(row: &Row) {
                // SAFETY: by the contract of this function.
                unsafe { outer::<$simd, WIDTH, VECTORS, $at_once>(row) }
            }
            [entry::<16, $narrow>, entry::<32, $wide>]
        };
    };
}

outer_table!(PORTABLE, crate::simd::Portable, 2, 2, 4);
#[cfg(target_arch = "x86_64")]
outer_table!(AVX2, crate::simd::Avx2, 2, 2, 4, "avx2,fma");
#[cfg(target_arch = "x86_64")]
outer_table!(AVX512, crate::simd::Avx512, 1, 2, 8, "avx512f");

fn outer_table(level: CpuLevel) -> &'static OuterTable {
    match level {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => &AVX2,
        _ => &PORTABLE,
    }
}

/// Lengths have been checked.
pub(super) fn run(
    ctx: &Context,
    shape: &ConvShape,
    input: &[f32],
    grad_output: &[f32],
    grad_weights: &mut [f32],
) {
    let out = shape.output();
    let [_, size_y, size_x] = out.spatial;
    let voxels = out.voxels();
    let tiles = PlainTiles::new(shape);
    let mut taps = ctx.kept::<[Vec<Tap>; 2]>();
    tiles.list_taps(0, &mut taps[0]);
    let taps = &*taps[0];
    let padded_taps = taps.len().next_multiple_of(TAPS);
    let len = padded_taps * padded(shape.out_channels);
    let parts = PARTS.min(tiles.count());
    let kernels = outer_table(ctx.level());
    let mut partial = ctx.partial();
    let partial = partial.at_least(parts * len);
    let shared = SharedMut::new(partial);
    ctx.pool().par_for(parts, |thread, part| {
        // SAFETY: each task has a part of its own.
        let sums = unsafe { shared.part(part * len, len) };
        sums.fill(0.0);
        let mut scratch = ctx.scratch(thread);
        let scratch = scratch.at_least(tiles.scratch_len());
        for index in tiles.count() * part / parts..tiles.count() * (part + 1) / parts {
            let tile = tiles.tile(index);
            tiles.pack(&tile, input, scratch);
            for group in groups(out.blocks(), padded_taps) {
                let width = group.blocks * LANES;
                let block = tile.sample * out.blocks() + group.block;
                let gradient = &grad_output[block * voxels * LANES..][..group.blocks * voxels * LANES];
                for row in 0..tile.rows {
                    let first = (tile.z * size_y + tile.first_row + row) * size_x;
                    for first_tap in (0..taps.len()).step_by(TAPS) {
                        // The sums of the taps that pad the last round are not read.
                        let sources = std::array::from_fn(|within| {
                            let tap = taps[(first_tap + within).min(taps.len() - 1)];
                            scratch[row * tiles.row_step() + tap.source..].as_ptr()
                        });
                        let operands = Row {
                            sources,
                            gradient: gradient[first * LANES..].as_ptr(),
                            gradient_block: voxels * LANES,
                            columns: size_x,
                            sums: sums[group.offset + first_tap * width..][..TAPS * width].as_mut_ptr(),
                        };
                        // SAFETY: every tap of every position of the tile lies in scratch; the row lies in the gradient of all
                        // blocks of the group; the sums have the length that is written; the level is one that the CPU has.
                        unsafe { kernels[group.blocks - 1](&operands) };
                    }
                }
            }
        }
    });
    for group in groups(out.blocks(), padded_taps) {
        let width = group.blocks * LANES;
        let first = group.block * LANES;
        for channel in 0..width.min(shape.out_channels - first) {
            let weights = &mut grad_weights[(first + channel) * taps.len()..][..taps.len()];
            for (tap, weight) in weights.iter_mut().enumerate() {
                let at = group.offset + tap * width + channel;
                *weight = partial.iter().skip(at).step_by(len).take(parts).sum();
            }
        }
    }
}

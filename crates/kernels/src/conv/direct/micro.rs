//! The microkernel of all convolutions by direct summation: 32 (or 16) result channels at up to 12 positions in registers, summed over
//! a list of taps and 16 channels each, for every block of summed channels in scratch.
//!
//! Sources and weights are words of 32 bits: f32 values, or pairs of bf16 values of neighbouring summed channels, whose products are
//! summed in f32 ([`Products`]).
//!
//! Per summed channel it loads the weights of the result channels and broadcasts the value at each position. Results stay in registers
//! over all blocks, taps and channels, so memory traffic is one vector of weights per 8 to 12 multiply-adds.

use crate::layout::LANES;
use crate::simd::Simd;

/// Words of what a direct sum multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// f32 values.
    F32,
    /// Pairs of bf16 values.
    Bf16,
}

impl Words {
    /// Words of 16 channels.
    pub(crate) const fn of_block(self) -> usize {
        match self {
            Self::F32 => LANES,
            Self::Bf16 => LANES / 2,
        }
    }
}

/// The products of a kind of words.
trait Products<S: Simd> {
    /// `sum` and the product of `value` and `factor`, or the two products of each pair.
    ///
    /// # Safety
    /// The CPU has the instruction sets of `S` and of these products.
    unsafe fn add(value: S::Vector, factor: S::Vector, sum: S::Vector) -> S::Vector;
}

/// Those of f32 values.
struct Single;

impl<S: Simd> Products<S> for Single {
    #[inline(always)]
    unsafe fn add(value: S::Vector, factor: S::Vector, sum: S::Vector) -> S::Vector {
        // SAFETY: by the contract of this function.
        unsafe { S::fma(value, factor, sum) }
    }
}

/// Those of bf16 pairs, each an f32 product.
struct Widened;

impl<S: Simd> Products<S> for Widened {
    #[inline(always)]
    unsafe fn add(value: S::Vector, factor: S::Vector, sum: S::Vector) -> S::Vector {
        // SAFETY: by the contract of this function.
        unsafe {
            let upper = S::fma(S::upper_bf16(value), S::upper_bf16(factor), sum);
            S::fma(S::lower_bf16(value), S::lower_bf16(factor), upper)
        }
    }
}

/// The same by the dot products of AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
struct Dot;

#[cfg(target_arch = "x86_64")]
impl Products<crate::simd::Avx512> for Dot {
    #[inline(always)]
    unsafe fn add(
        value: std::arch::x86_64::__m512,
        factor: std::arch::x86_64::__m512,
        sum: std::arch::x86_64::__m512,
    ) -> std::arch::x86_64::__m512 {
        // SAFETY: by the contract of this function.
        unsafe { crate::simd::dot_bf16(value, factor, sum) }
    }
}

/// One kernel tap: where its source value is relative to the position's, and where its weights are within a block's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tap {
    pub(crate) source: usize,
    pub(crate) weights: usize,
}

/// Operands of a microkernel. Distances count values of the output, and words ([`Words`]) of what is multiplied.
pub(crate) struct Operands<'a> {
    /// Source word of the first position, first channel, in scratch.
    pub(crate) source: *const f32,
    /// From one row of positions to the next, and from one block of summed channels to the next.
    pub(crate) source_row: usize,
    pub(crate) source_block: usize,
    pub(crate) blocks: usize,
    pub(crate) taps: &'a [Tap],
    /// Weights `[block][tap][16 or 8 words][width]`.
    pub(crate) weights: *const f32,
    pub(crate) weights_block: usize,
    /// Result of the first position; a lower instruction set takes several calls for the channels of a group.
    pub(crate) output: *mut f32,
    /// From one position, row, or block of result channels to the next.
    pub(crate) output_column: usize,
    pub(crate) output_row: usize,
    pub(crate) output_block: usize,
    /// What the sums start from: values per result channel, or, if null, what the output holds.
    pub(crate) start: *const f32,
}

/// A microkernel for a number of rows and columns of positions.
pub(crate) type Micro = unsafe fn(&Operands<'_>);

/// The microkernels of an instruction set.
pub(crate) struct MicroTable {
    single: Blocks,
    pairs: Blocks,
    /// Plain scratch, one row: groups of 16 and of 32 result channels.
    pub(crate) plain: [&'static [Micro]; 2],
}

/// The microkernels for one kind of words.
struct Blocks {
    /// Groups of 32 result channels: one row, then two rows; index is the number of columns - 1.
    wide: [&'static [Micro]; 2],
    /// Groups of 16 result channels.
    narrow: [&'static [Micro]; 2],
}

impl MicroTable {
    /// Those for groups of one or two blocks of result channels.
    pub(crate) fn of(&self, words: Words, blocks: usize) -> &[&'static [Micro]; 2] {
        let kernels = match words {
            Words::F32 => &self.single,
            Words::Bf16 => &self.pairs,
        };
        if blocks == 2 { &kernels.wide } else { &kernels.narrow }
    }
}

/// Positions are `WORDS` words apart in scratch, and that many are summed per tap: those of 16 channels, or 1 for plain scratch.
/// `WIDTH` result channels as vectors of `S`, `VECTORS` at a time, at `ROWS` x `COLUMNS` positions.
///
/// # Safety
/// The CPU has the instruction sets of `S` and `P`; all addresses that the operands describe are valid, and the output is not shared.
#[inline(always)]
unsafe fn micro<
    S: Simd,
    P: Products<S>,
    const WORDS: usize,
    const WIDTH: usize,
    const VECTORS: usize,
    const ROWS: usize,
    const COLUMNS: usize,
>(
    operands: &Operands<'_>,
) {
    let Operands { source_row, source_block, blocks, taps, weights_block, .. } = *operands;
    // SAFETY: all addresses are valid by the contract of this function.
    unsafe {
        for part in 0..WIDTH / (VECTORS * S::LANES) {
            let result = |vector: usize, row: usize, column: usize| {
                let channel = (part * VECTORS + vector) * S::LANES;
                operands.output.add(
                    channel / LANES * operands.output_block
                        + channel % LANES
                        + row * operands.output_row
                        + column * operands.output_column,
                )
            };
            let mut sums = [[[S::zero(); VECTORS]; COLUMNS]; ROWS];
            for (row, sums) in sums.iter_mut().enumerate() {
                for (column, sums) in sums.iter_mut().enumerate() {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = if operands.start.is_null() {
                            S::load(result(vector, row, column))
                        } else {
                            S::load(operands.start.add((part * VECTORS + vector) * S::LANES))
                        };
                    }
                }
            }
            for block in 0..blocks {
                let source = operands.source.add(block * source_block);
                let weights = operands.weights.add(block * weights_block + part * VECTORS * S::LANES);
                for tap in taps {
                    let first = source.add(tap.source);
                    let second = first.add(source_row * (ROWS - 1));
                    let weights = weights.add(tap.weights);
                    for word in 0..WORDS {
                        let mut factors = [S::zero(); VECTORS];
                        for (vector, factor) in factors.iter_mut().enumerate() {
                            *factor = S::load(weights.add(word * WIDTH + vector * S::LANES));
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let values = if row == 0 { first } else { second };
                            for (column, sums) in sums.iter_mut().enumerate() {
                                let value = S::broadcast(values.add(column * WORDS + word));
                                for (sum, factor) in sums.iter_mut().zip(factors) {
                                    *sum = P::add(value, factor, *sum);
                                }
                            }
                        }
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (column, sums) in sums.iter().enumerate() {
                    for (vector, sum) in sums.iter().enumerate() {
                        S::store(result(vector, row, column), *sum);
                    }
                }
            }
        }
    }
}

/// Instantiates the microkernels of one instruction set.
macro_rules! micro_table {
    ($table:ident, $simd:ty, $pairs:ty, $vectors:literal, $narrow_vectors:literal, [$($columns:literal)*], [$($half:literal)*] $(, $feature:literal)?) => {
        pub(super) static $table: MicroTable = {
            /// # Safety
            /// As [`micro`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn entry<
                P: Products<$simd>, const WORDS: usize,
                const WIDTH: usize, const VECTORS: usize, const ROWS: usize, const COLUMNS: usize>(operands: &Operands<'_>) {
                // SAFETY: by the contract of this function.
                unsafe { micro::<$simd, P, WORDS, WIDTH, VECTORS, ROWS, COLUMNS>(operands) }
            }
            MicroTable {
                single: Blocks {
                    wide: [
                        &[$(entry::<Single, 16, 32, $vectors, 1, $columns>),*],
                        &[$(entry::<Single, 16, 32, $vectors, 2, $half>),*],
                    ],
                    narrow: [
                        &[$(entry::<Single, 16, 16, $narrow_vectors, 1, $columns>),*],
                        &[$(entry::<Single, 16, 16, $narrow_vectors, 2, $half>),*],
                    ],
                },
                pairs: Blocks {
                    wide: [
                        &[$(entry::<$pairs, 8, 32, $vectors, 1, $columns>),*],
                        &[$(entry::<$pairs, 8, 32, $vectors, 2, $half>),*],
                    ],
                    narrow: [
                        &[$(entry::<$pairs, 8, 16, $narrow_vectors, 1, $columns>),*],
                        &[$(entry::<$pairs, 8, 16, $narrow_vectors, 2, $half>),*],
                    ],
                },
                plain: [
                    &[$(entry::<Single, 1, 16, $narrow_vectors, 1, $columns>),*],
                    &[$(entry::<Single, 1, 32, $vectors, 1, $columns>),*],
                ],
            }
        };
    };
}

micro_table!(PORTABLE, crate::simd::Portable, Widened, 2, 2, [1 2 3 4], [1 2]);
#[cfg(target_arch = "x86_64")]
micro_table!(AVX2, crate::simd::Avx2, Widened, 2, 2, [1 2 3 4 5 6], [1 2 3], "avx2,fma");
#[cfg(target_arch = "x86_64")]
micro_table!(AVX512, crate::simd::Avx512, Widened, 2, 1, [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], "avx512f");
#[cfg(target_arch = "x86_64")]
micro_table!(AVX512_BF16, crate::simd::Avx512, Dot, 2, 1, [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], "avx512f,avx512bf16");

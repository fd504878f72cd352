//! Passes over one row of voxels: packing into scratch with the fused activation, and the statistics of a finished row.

use crate::conv::Source;
use crate::layout::LANES;
use crate::simd::{Isa, Simd};
use crate::values::{Element, Values, ValuesMut};

/// Normalisation and activation of one block of channels; without one, values are copied.
#[derive(Clone, Copy)]
pub(crate) struct BlockAffine {
    /// 16 values each.
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) negative_slope: f32,
}

impl BlockAffine {
    /// That of block `block`, counted over all samples, of a source whose lengths have been checked.
    pub(crate) fn of(source: &Source<'_>, block: usize) -> Option<Self> {
        source.affine.map(|affine| {
            let lanes = block * LANES..(block + 1) * LANES;
            Self {
                scale: affine.scale[lanes.clone()].as_ptr(),
                shift: affine.shift[lanes].as_ptr(),
                negative_slope: affine.negative_slope,
            }
        })
    }
}

/// LeakyReLU with a slope of 0 to 1, or ReLU as the slope 0.
#[derive(Clone, Copy)]
pub(crate) struct Leaky<V> {
    slope: V,
    /// Values are raised to this: the ReLU of -inf is 0, but -inf times the slope 0 is NaN.
    lowest: V,
}

impl<V: Copy> Leaky<V> {
    #[inline(always)]
    pub(crate) fn new<S: Simd<Vector = V>>(s: Isa<S>, negative_slope: f32) -> Self {
        let lowest = if negative_slope == 0.0 { f32::MIN } else { f32::NEG_INFINITY };
        Self { slope: s.splat(negative_slope), lowest: s.splat(lowest) }
    }

    /// The order of the operands matters for NaN, which passes, and for inf times 0, which is not taken.
    #[inline(always)]
    pub(crate) fn apply<S: Simd<Vector = V>>(self, s: Isa<S>, value: V) -> V {
        let value = s.max(self.lowest, value);
        s.max(s.mul(value, self.slope), value)
    }
}

/// Normalisation and activation of one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct LaneAffine<V> {
    scale: V,
    shift: V,
    leaky: Leaky<V>,
}

impl BlockAffine {
    /// That of the channels `lane..lane + S::LANES` of the block.
    ///
    /// # Safety
    /// The pointers are valid for 16 values.
    #[inline(always)]
    pub(crate) unsafe fn lanes<S: Simd>(self, s: Isa<S>, lane: usize) -> LaneAffine<S::Vector> {
        // SAFETY: by the contract of this function.
        let (scale, shift) = unsafe { (s.load(self.scale.add(lane)), s.load(self.shift.add(lane))) };
        LaneAffine { scale, shift, leaky: Leaky::new(s, self.negative_slope) }
    }
}

impl<V: Copy> LaneAffine<V> {
    /// The one that changes nothing (but the sign of a negative zero).
    #[inline(always)]
    pub(crate) fn identity<S: Simd<Vector = V>>(s: Isa<S>) -> Self {
        Self { scale: s.splat(1.0), shift: s.zero(), leaky: Leaky::new(s, 1.0) }
    }

    #[inline(always)]
    pub(crate) fn apply<S: Simd<Vector = V>>(self, s: Isa<S>, value: V) -> V {
        self.leaky.apply(s, s.mul_add(value, self.scale, self.shift))
    }
}

/// Mean and sum of squared deviations of a number of values, per lane; merged pairwise (Chan) in f64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneStatistics {
    pub(crate) count: f64,
    pub(crate) mean: [f64; LANES],
    pub(crate) deviation: [f64; LANES],
}

impl LaneStatistics {
    pub(crate) const EMPTY: Self = Self { count: 0.0, mean: [0.0; LANES], deviation: [0.0; LANES] };

    /// Merges the statistics of further values. Inlined into the row passes, so that it is vectorised with their instruction set.
    #[inline(always)]
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let (weight, cross) = (other.count / count, self.count * other.count / count);
        for lane in 0..LANES {
            let delta = other.mean[lane] - self.mean[lane];
            self.mean[lane] += delta * weight;
            self.deviation[lane] += other.deviation[lane] + delta * delta * cross;
        }
        self.count = count;
    }
}

/// Copies `count` vectors of 16 lanes from `source`, which advances by `source_step` values per vector, to consecutive vectors of
/// `target`, with the activation applied, rounded to its type.
///
/// # Safety
/// The CPU has the instruction set of `S`; source and target are valid for the vectors described, the affine's pointers for 16 values.
#[inline(always)]
pub(super) unsafe fn pack<S: Simd, E: Element, T: Element>(
    source: *const E,
    target: *mut T,
    count: usize,
    source_step: usize,
    affine: Option<BlockAffine>,
) {
    // SAFETY: by the contract of this function.
    unsafe {
        for part in (0..LANES).step_by(S::LANES) {
            let (source, target) = (source.add(part), target.add(part));
            match affine {
                None => {
                    for at in 0..count {
                        T::store::<S>(target.add(at * LANES), E::load::<S>(source.add(at * source_step)));
                    }
                }
                Some(affine) => {
                    let s = Isa::<S>::new();
                    let affine = affine.lanes(s, part);
                    for at in 0..count {
                        let value = E::load::<S>(source.add(at * source_step));
                        T::store::<S>(target.add(at * LANES), affine.apply(s, value));
                    }
                }
            }
        }
    }
}

/// Statistics of `count` vectors of 16 lanes, merged into `statistics`.
///
/// # Safety
/// The CPU has the instruction set of `S`; `row` is valid for `count * 16` values; `count` is not 0.
#[inline(always)]
pub(super) unsafe fn statistics<S: Simd>(row: *const f32, count: usize, statistics: &mut LaneStatistics) {
    const CHAINS: usize = 4;
    let (mut mean, mut deviation) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    // SAFETY: by the contract of this function; the arrays have 16 values.
    unsafe {
        let reciprocal = S::splat(1.0 / count as f32);
        for part in (0..LANES).step_by(S::LANES) {
            let row = row.add(part);
            let whole = count - count % CHAINS;
            let mut sums = [S::zero(); CHAINS];
            for at in (0..whole).step_by(CHAINS) {
                for (chain, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(row.add((at + chain) * LANES)));
                }
            }
            for at in whole..count {
                sums[0] = S::add(sums[0], S::load(row.add(at * LANES)));
            }
            let average = S::mul(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])), reciprocal);
            let mut sums = [S::zero(); CHAINS];
            for at in (0..whole).step_by(CHAINS) {
                for (chain, sum) in sums.iter_mut().enumerate() {
                    let difference = S::sub(S::load(row.add((at + chain) * LANES)), average);
                    *sum = S::fma(difference, difference, *sum);
                }
            }
            for at in whole..count {
                let difference = S::sub(S::load(row.add(at * LANES)), average);
                sums[0] = S::fma(difference, difference, sums[0]);
            }
            let squares = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
            S::store(mean.as_mut_ptr().add(part), average);
            S::store(deviation.as_mut_ptr().add(part), squares);
        }
    }
    statistics.merge(&LaneStatistics {
        count: count as f64,
        mean: mean.map(f64::from),
        deviation: deviation.map(f64::from),
    });
}

/// Adds `count` vectors of 16 lanes to `sums`: in f32 over [`SUM_RUN`] vectors, beyond that in f64.
///
/// # Safety
/// The CPU has the instruction set of `S`; `row` is valid for `count * 16` values.
#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(row: *const f32, count: usize, sums: &mut [f64; LANES]) {
    const CHAINS: usize = 4;
    for run in (0..count).step_by(SUM_RUN) {
        let in_run = SUM_RUN.min(count - run);
        let mut total = [0.0_f32; LANES];
        // SAFETY: by the contract of this function; `total` has 16 values.
        unsafe {
            for part in (0..LANES).step_by(S::LANES) {
                let row = row.add(run * LANES + part);
                let mut chains = [S::zero(); CHAINS];
                let whole = in_run - in_run % CHAINS;
                for at in (0..whole).step_by(CHAINS) {
                    for (chain, sum) in chains.iter_mut().enumerate() {
                        *sum = S::add(*sum, S::load(row.add((at + chain) * LANES)));
                    }
                }
                for at in whole..in_run {
                    chains[0] = S::add(chains[0], S::load(row.add(at * LANES)));
                }
                let all = S::add(S::add(chains[0], chains[1]), S::add(chains[2], chains[3]));
                S::store(total.as_mut_ptr().add(part), all);
            }
        }
        for (sum, total) in sums.iter_mut().zip(total) {
            *sum += f64::from(total);
        }
    }
}

/// Vectors that are summed in f32 before the sum goes to f64.
const SUM_RUN: usize = 128;

/// Packing of one type as another.
type PackRow<E, T> = unsafe fn(*const E, *mut T, usize, usize, Option<BlockAffine>);

/// Row passes of an instruction set.
pub(crate) struct RowTable {
    pack: PackRow<f32, f32>,
    pack_bf16: PackRow<u16, f32>,
    round: PackRow<f32, u16>,
    round_bf16: PackRow<u16, u16>,
    pub(crate) statistics: unsafe fn(*const f32, usize, &mut LaneStatistics),
    pub(crate) sum: unsafe fn(*const f32, usize, &mut [f64; LANES]),
}

impl RowTable {
    /// Copies `count` vectors of 16 lanes from `source`, `source_step` values apart, to consecutive vectors of `target`, with
    /// the activation applied and rounded to its type.
    ///
    /// # Safety
    /// The table is that of a level that the CPU has; source and target are valid for the vectors described, the affine's pointers
    /// for 16 values.
    #[inline]
    pub(crate) unsafe fn pack(
        &self,
        source: Values<'_>,
        target: ValuesMut<'_>,
        count: usize,
        step: usize,
        affine: Option<BlockAffine>,
    ) {
        // SAFETY: by the contract of this function.
        unsafe {
            match (source, target) {
                (Values::F32(from), ValuesMut::F32(to)) => {
                    (self.pack)(from.as_ptr(), to.as_mut_ptr(), count, step, affine);
                }
                (Values::Bf16(from), ValuesMut::F32(to)) => {
                    (self.pack_bf16)(from.as_ptr(), to.as_mut_ptr(), count, step, affine);
                }
                (Values::F32(from), ValuesMut::Bf16(to)) => {
                    (self.round)(from.as_ptr(), to.as_mut_ptr(), count, step, affine);
                }
                (Values::Bf16(from), ValuesMut::Bf16(to)) => {
                    (self.round_bf16)(from.as_ptr(), to.as_mut_ptr(), count, step, affine);
                }
            }
        }
    }
}

macro_rules! row_table {
    ($table:ident, $simd:ty $(, $feature:literal)?) => {
        pub(super) static $table: RowTable = {
            /// # Safety
            /// As [`pack`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn pack_entry<E: Element, T: Element>(
                source: *const E, target: *mut T, count: usize, step: usize, affine: Option<BlockAffine>,
            ) {
                // SAFETY: by the contract of this function.
                unsafe { pack::<$simd, E, T>(source, target, count, step, affine) }
            }
            /// # Safety
            /// As [`statistics`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn statistics_entry(row: *const f32, count: usize, sums: &mut LaneStatistics) {
                // SAFETY: by the contract of this function.
                unsafe { statistics::<$simd>(row, count, sums) }
            }
            /// # Safety
            /// As [`sum`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn sum_entry(row: *const f32, count: usize, sums: &mut [f64; LANES]) {
                // SAFETY: by the contract of this function.
                unsafe { sum::<$simd>(row, count, sums) }
            }
            RowTable {
                pack: pack_entry,
                pack_bf16: pack_entry,
                round: pack_entry,
                round_bf16: pack_entry,
                statistics: statistics_entry,
                sum: sum_entry,
            }
        };
    };
}

row_table!(PORTABLE, crate::simd::Portable);
#[cfg(target_arch = "x86_64")]
row_table!(AVX2, crate::simd::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
row_table!(AVX512, crate::simd::Avx512, "avx512f");

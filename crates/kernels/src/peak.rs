//! The machine's limit: how many f32 multiply-adds a second the threads of a context can do when nothing else is needed. Benches
//! state their results as percent of it.

#![allow(unsafe_code)]

use std::time::Instant;

use crate::simd::{Portable, Simd};
use crate::{Context, CpuLevel};

/// Independent chains: enough to hide the latency of a multiply-add on any current CPU.
const CHAINS: usize = 12;
const ROUNDS: usize = 20_000;

/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn chains<S: Simd>() -> f32 {
    let mut first = [0.0_f32; 16];
    // SAFETY: by the contract of this function; `first` has room for a vector of any level.
    unsafe {
        let (factor, summand) = (S::splat(0.999), S::splat(1e-3));
        let mut sums = [S::splat(0.5); CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = S::fma(*sum, factor, summand);
            }
        }
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = S::add(all, *sum);
        }
        S::store(first.as_mut_ptr(), all);
    }
    first[0]
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn chains_avx2() -> f32 {
    // SAFETY: by the contract of this function.
    unsafe { chains::<crate::simd::Avx2>() }
}

/// # Safety
/// The CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn chains_avx512() -> f32 {
    // SAFETY: by the contract of this function.
    unsafe { chains::<crate::simd::Avx512>() }
}

/// Multiply-adds of all threads of `ctx` at its level in floating point operations per second (two per multiply-add), best of
/// `repeats` measurements of a few milliseconds each.
pub fn fma_flops(ctx: &Context, repeats: usize) -> f64 {
    let (run, lanes): (unsafe fn() -> f32, usize) = match ctx.level() {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => (chains_avx512, 16),
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => (chains_avx2, 8),
        _ => (chains::<Portable>, Portable::LANES),
    };
    let tasks = ctx.pool().threads() * 16;
    let flops = (tasks * ROUNDS * CHAINS * lanes * 2) as f64;
    (0..repeats)
        .map(|_| {
            let start = Instant::now();
            ctx.pool().par_for(tasks, |_, _| {
                // SAFETY: the level of a context is one that the CPU has.
                std::hint::black_box(unsafe { run() });
            });
            flops / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}

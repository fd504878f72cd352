//! Vector arithmetic as safe methods of a token that vouches for the instruction set, and functions compiled once per level.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Simd;

/// Proof that the instruction set `S` is available. The transforms take it and stay free of `unsafe`.
#[derive(Debug)]
pub(crate) struct Isa<S>(PhantomData<S>);

impl<S> Clone for Isa<S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Isa<S> {}

impl<S: Simd> Isa<S> {
    /// # Safety
    /// The CPU has the instruction set of `S`.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(PhantomData)
    }

    #[inline(always)]
    pub(crate) fn zero(self) -> S::Vector {
        // SAFETY: this token is the proof that the instruction set is available.
        unsafe { S::zero() }
    }

    #[inline(always)]
    pub(crate) fn splat(self, value: f32) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::splat(value) }
    }

    /// # Safety
    /// `from` is valid for a vector.
    #[inline(always)]
    pub(crate) unsafe fn load(self, from: *const f32) -> S::Vector {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::load(from) }
    }

    /// # Safety
    /// `to` is valid for a vector.
    #[inline(always)]
    pub(crate) unsafe fn store(self, to: *mut f32, value: S::Vector) {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::store(to, value) }
    }

    /// The nearest bf16 of each value.
    ///
    /// # Safety
    /// `to` is valid for a vector of them.
    #[inline(always)]
    pub(crate) unsafe fn store_bf16(self, to: *mut u16, value: S::Vector) {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::store_bf16(to, value) }
    }

    /// One value in all lanes.
    ///
    /// # Safety
    /// `from` is valid for one value.
    #[inline(always)]
    pub(crate) unsafe fn broadcast(self, from: *const f32) -> S::Vector {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::broadcast(from) }
    }

    #[inline(always)]
    pub(crate) fn add(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::add(a, b) }
    }

    #[inline(always)]
    pub(crate) fn sub(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::sub(a, b) }
    }

    #[inline(always)]
    pub(crate) fn mul(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::mul(a, b) }
    }

    #[inline(always)]
    pub(crate) fn max(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::max(a, b) }
    }

    /// `a * b + c`.
    #[inline(always)]
    pub(crate) fn mul_add(self, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::fma(a, b, c) }
    }
}

/// `array!(|index| value)`: the array of the values at all indices.
///
/// A macro and not `std::array::from_fn`, because only what is inlined before anything else is compiled with the features of a level.
/// In a closure that such a function calls, every vector operation could become a call. Closures are for call arguments of functions
/// with `#[inline(always)]` only, and have that attribute themselves.
macro_rules! array {
    (|$index:ident| $value:expr) => {{
        let first = {
            let $index = 0_usize;
            $value
        };
        let mut values = [first; _];
        for ($index, place) in values.iter_mut().enumerate().skip(1) {
            *place = $value;
        }
        values
    }};
}
pub(crate) use array;

/// Defines a function that runs a generic body with the features of a level enabled.
macro_rules! at_level {
    ($(#[$meta:meta])* $visibility:vis unsafe fn $name:ident = $body:ident($argument:ident: $type:ty)) => {
        $(#[$meta])*
        $visibility unsafe fn $name(level: crate::CpuLevel, $argument: $type) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn avx512($argument: $type) {
                    // SAFETY: the features are enabled here; the rest is the contract of the function.
                    unsafe { $body(crate::simd::Isa::<crate::simd::Avx512>::new(), $argument) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($argument: $type) {
                    // SAFETY: as above.
                    unsafe { $body(crate::simd::Isa::<crate::simd::Avx2>::new(), $argument) }
                }
                match level {
                    crate::CpuLevel::Portable => {}
                    // SAFETY: a context never has a level above what the machine has.
                    crate::CpuLevel::Avx2 => return unsafe { avx2($argument) },
                    // SAFETY: as above.
                    crate::CpuLevel::Avx512 | crate::CpuLevel::Avx512Bf16 => return unsafe { avx512($argument) },
                }
            }
            // SAFETY: the portable level is always available; the rest is the contract of the function.
            unsafe { $body(crate::simd::Isa::<crate::simd::Portable>::new(), $argument) }
        }
    };
}
pub(crate) use at_level;

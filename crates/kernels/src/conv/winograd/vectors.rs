//! Vector arithmetic as safe methods of a token that vouches for the instruction set.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::simd::Simd;

/// Proof that the instruction set `S` is available. The transforms take it and stay free of `unsafe`.
#[derive(Debug)]
pub(super) struct Isa<S>(PhantomData<S>);

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
    pub(super) unsafe fn new() -> Self {
        Self(PhantomData)
    }

    #[inline(always)]
    pub(super) fn zero(self) -> S::Vector {
        // SAFETY: this token is the proof that the instruction set is available.
        unsafe { S::zero() }
    }

    #[inline(always)]
    pub(super) fn splat(self, value: f32) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::splat(value) }
    }

    /// # Safety
    /// `from` is valid for a vector.
    #[inline(always)]
    pub(super) unsafe fn load(self, from: *const f32) -> S::Vector {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::load(from) }
    }

    /// # Safety
    /// `to` is valid for a vector.
    #[inline(always)]
    pub(super) unsafe fn store(self, to: *mut f32, value: S::Vector) {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::store(to, value) }
    }

    /// One value in all lanes.
    ///
    /// # Safety
    /// `from` is valid for one value.
    #[inline(always)]
    pub(super) unsafe fn broadcast(self, from: *const f32) -> S::Vector {
        // SAFETY: as in `zero`, and by the contract of this function.
        unsafe { S::broadcast(from) }
    }

    #[inline(always)]
    pub(super) fn add(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::add(a, b) }
    }

    #[inline(always)]
    pub(super) fn sub(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::sub(a, b) }
    }

    #[inline(always)]
    pub(super) fn mul(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::mul(a, b) }
    }

    #[inline(always)]
    pub(super) fn max(self, a: S::Vector, b: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::max(a, b) }
    }

    /// `a * b + c`.
    #[inline(always)]
    pub(super) fn mul_add(self, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        // SAFETY: as in `zero`.
        unsafe { S::fma(a, b, c) }
    }
}

//! Activations as kernels read and write them: f32, or bf16, which takes half the memory.
//!
//! A bf16 is the upper half of an f32 (sign, 8 bits of exponent, 7 of fraction), so that a kernel widens it on load without any
//! error and computes in f32 as ever. On the way out it is rounded ([`crate::bf16`]).

#![allow(unsafe_code)]

use crate::bf16::narrow;
use crate::memory::{AlignedBuffer, SharedMut};
use crate::simd::Simd;

/// Values in memory.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// 32-bit values.
    F32(&'a [f32]),
    /// The bits of bf16 values.
    Bf16(&'a [u16]),
}

impl<'a> Values<'a> {
    /// The first `len` of the bf16 values, two to an f32, that `memory` holds; none if it holds fewer.
    pub fn bf16_in(memory: &'a [f32], len: usize) -> Self {
        let count = size_of_val(memory) / size_of::<u16>();
        // SAFETY: the memory is borrowed for as long, has room for `count` values and a higher alignment than they need, and all bits
        // are valid for them.
        let all = unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<u16>(), count) };
        Self::Bf16(all.get(..len).unwrap_or(&[]))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(values) => values[index],
            Self::Bf16(values) => values[index].to_f32(),
        }
    }

    /// The values `start..start + len`.
    ///
    /// # Panics
    /// If there are fewer.
    pub(crate) fn part(self, start: usize, len: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[start..][..len]),
            Self::Bf16(values) => Self::Bf16(&values[start..][..len]),
        }
    }
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

/// Memory for values.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// 32-bit values.
    F32(&'a mut [f32]),
    /// The bits of bf16 values.
    Bf16(&'a mut [u16]),
}

impl<'a> ValuesMut<'a> {
    /// Places for `len` bf16 values, two to an f32, from the beginning of `memory`; none if it has room for fewer.
    pub fn bf16_in(memory: &'a mut [f32], len: usize) -> Self {
        let count = size_of_val(memory) / size_of::<u16>();
        // SAFETY: the memory is borrowed mutably for as long, has room for `count` values and a higher alignment than they need; all
        // bits are valid for either type.
        let all = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u16>(), count) };
        Self::Bf16(all.get_mut(..len).unwrap_or(&mut []))
    }

    /// For the tasks of a job.
    pub(crate) fn shared(self) -> SharedValues<'a> {
        match self {
            Self::F32(values) => SharedValues::F32(SharedMut::new(values)),
            Self::Bf16(values) => SharedValues::Bf16(SharedMut::new(values)),
        }
    }
}

impl<'a> From<&'a mut [f32]> for ValuesMut<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a, const LEN: usize> From<&'a mut [f32; LEN]> for ValuesMut<'a> {
    fn from(values: &'a mut [f32; LEN]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a mut Vec<f32>> for ValuesMut<'a> {
    fn from(values: &'a mut Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a mut AlignedBuffer> for ValuesMut<'a> {
    fn from(values: &'a mut AlignedBuffer) -> Self {
        Self::F32(values)
    }
}

/// A tensor of either type that the tasks of a job write, each parts of its own.
#[derive(Clone, Copy)]
pub(crate) enum SharedValues<'a> {
    F32(SharedMut<'a, f32>),
    Bf16(SharedMut<'a, u16>),
}

impl<'a> SharedValues<'a> {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// The values `start..start + len`.
    ///
    /// # Safety
    /// No other part that overlaps this one may be alive, on any thread.
    ///
    /// # Panics
    /// If the part does not lie in the tensor.
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> ValuesMut<'a> {
        // SAFETY: by the contract of this function.
        unsafe {
            match self {
                Self::F32(values) => ValuesMut::F32(values.part(start, len)),
                Self::Bf16(values) => ValuesMut::Bf16(values.part(start, len)),
            }
        }
    }
}

/// A type that activations are kept in; kernels that read and write them are generic over it.
pub(crate) trait Element: Copy + Send {
    /// The value.
    fn to_f32(self) -> f32;

    /// The nearest value of the type.
    fn from_f32(value: f32) -> Self;

    /// A vector of values.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; `from` is valid for a vector of values.
    unsafe fn load<S: Simd>(from: *const Self) -> S::Vector;

    /// Writes a vector of values, rounded to the type.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; `to` is valid for a vector of values.
    unsafe fn store<S: Simd>(to: *mut Self, vector: S::Vector);
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::Vector {
        // SAFETY: by the contract of this function.
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut f32, vector: S::Vector) {
        // SAFETY: by the contract of this function.
        unsafe { S::store(to, vector) }
    }
}

/// The bits of a bf16.
impl Element for u16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> u16 {
        narrow(value)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u16) -> S::Vector {
        // SAFETY: by the contract of this function.
        unsafe { S::load_bf16(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut u16, vector: S::Vector) {
        // SAFETY: by the contract of this function.
        unsafe { S::store_bf16(to, vector) }
    }
}

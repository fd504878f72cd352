//! A small vector type per instruction set. Kernels are generic bodies over [`Simd`]; entry points with `#[target_feature]` instantiate
//! them, and a table of those is chosen once per call from the [`crate::CpuLevel`].
//!
//! Every method is `unsafe`: the caller guarantees that the CPU has the instruction set of the implementation, and that pointers are
//! valid for [`Simd::LANES`] values (no alignment needed).

#![allow(unsafe_code)]

mod isa;
mod portable;
mod streaming;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use isa::{Isa, array, at_level};
pub(crate) use portable::Portable;
pub(crate) use streaming::Streaming;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, dot_bf16};

/// A vector of `f32`.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Simd: Copy {
    /// The vector.
    type Vector: Copy;
    /// Values in a vector.
    const LANES: usize;
    unsafe fn zero() -> Self::Vector;
    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// One value in all lanes.
    unsafe fn broadcast(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    /// Values whose upper halves, the bits of bf16, are in memory.
    unsafe fn load_bf16(from: *const u16) -> Self::Vector;
    /// The bits of the nearest bf16, the even one of two; NaN stays NaN.
    unsafe fn store_bf16(to: *mut u16, vector: Self::Vector);
    /// The lower of the two bf16 values in the bits of each value.
    unsafe fn lower_bf16(pairs: Self::Vector) -> Self::Vector;
    /// The upper one.
    unsafe fn upper_bf16(pairs: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `b` where either is NaN, as x86 has it.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `yes` where `value > 0`, else `no`.
    unsafe fn positive(value: Self::Vector, yes: Self::Vector, no: Self::Vector) -> Self::Vector;
}

/// Rows become columns.
#[inline(always)]
pub(crate) fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        x86::transpose4(rows)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::array::from_fn(|row| rows.map(|values| values[row]))
    }
}

#[cfg(test)]
mod tests {
    use super::transpose4;

    #[test]
    fn rows_become_columns() {
        let rows: [[f32; 4]; 4] =
            std::array::from_fn(|row| std::array::from_fn(|column| (row * 4 + column) as f32));
        let expected: [[f32; 4]; 4] = std::array::from_fn(|row| rows.map(|values| values[row]));
        assert_eq!(transpose4(rows), expected);
    }
}

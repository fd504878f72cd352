//! AVX2 with FMA, and AVX-512.

use std::arch::x86_64::*;

use super::Simd;

/// AVX-512: sixteen values.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> __m512 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm512_set1_ps(*from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: __m512) {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, vector: __m512) {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe {
            let bits = _mm512_castps_si512(vector);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
            // The payload of a NaN could round to that of an infinity.
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(vector, vector);
            let rounded = _mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(is_nan, nearest, quiet));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(rounded));
        }
    }

    #[inline(always)]
    unsafe fn lower_bf16(pairs: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs))) }
    }

    #[inline(always)]
    unsafe fn upper_bf16(pairs: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe {
            let mask = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), mask))
        }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn positive(value: __m512, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, _mm512_setzero_ps()), no, yes) }
    }
}

/// AVX2 with FMA: eight values.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> __m256 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm256_set1_ps(*from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: __m256) {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe { _mm256_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256 {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, vector: __m256) {
        // SAFETY: valid pointer and instruction set by the contract of the trait.
        unsafe {
            let bits = _mm256_castps_si256(vector);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let nearest = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
            // The payload of a NaN could round to that of an infinity.
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(vector, vector));
            let rounded = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(nearest, quiet, is_nan));
            // Both halves are packed, each to its own half of the result and to the same place of the other.
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(rounded, rounded));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
        }
    }

    #[inline(always)]
    unsafe fn lower_bf16(pairs: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pairs))) }
    }

    #[inline(always)]
    unsafe fn upper_bf16(pairs: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe {
            let mask = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(pairs), mask))
        }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn positive(value: __m256, yes: __m256, no: __m256) -> __m256 {
        // SAFETY: instruction set by the contract of the trait.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(value, _mm256_setzero_ps())) }
    }
}

/// `sum` and the products of the pairs of bf16 values in the bits of `a` and `b`. Denormal values and results count as zero.
///
/// # Safety
/// The CPU has AVX-512 F and BF16.
#[inline(always)]
pub(crate) unsafe fn dot_bf16(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: instruction set by the contract of this function; both types are 64 bytes of which all bits are valid.
    unsafe {
        let (a, b) = (std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b));
        _mm512_dpbf16_ps(sum, a, b)
    }
}

/// See [`super::transpose4`]. Needs no more than every x86-64 has.
#[inline(always)]
pub(super) fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    // SAFETY: SSE is part of x86-64; both types are four times four floats.
    unsafe {
        let [mut a, mut b, mut c, mut d] = rows.map(|row| _mm_loadu_ps(row.as_ptr()));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        let mut columns = [[0.0; 4]; 4];
        for (column, values) in columns.iter_mut().zip([a, b, c, d]) {
            _mm_storeu_ps(column.as_mut_ptr(), values);
        }
        columns
    }
}

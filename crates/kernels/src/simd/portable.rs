//! Vectors of four values in plain Rust, which the compiler maps to the baseline registers of the target.

use super::Simd;

/// The portable instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Four values.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Four([f32; 4]);

#[inline(always)]
fn map(a: Four, b: Four, operation: impl Fn(f32, f32) -> f32) -> Four {
    Four([
        operation(a.0[0], b.0[0]),
        operation(a.0[1], b.0[1]),
        operation(a.0[2], b.0[2]),
        operation(a.0[3], b.0[3]),
    ])
}

// SAFETY of the bodies below: pointers are valid for four values by the contract of the trait.
impl Simd for Portable {
    type Vector = Four;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Four {
        Four([0.0; 4])
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Four {
        Four([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Four {
        // SAFETY: valid for four values by contract.
        Four(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Four {
        // SAFETY: valid for one value by contract.
        Four([unsafe { *from }; 4])
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Four) {
        // SAFETY: valid for four values by contract.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(vector.0) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Four {
        // SAFETY: valid for four values by contract.
        let bits = unsafe { from.cast::<[u16; 4]>().read_unaligned() };
        Four(bits.map(|bits| f32::from_bits(u32::from(bits) << 16)))
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, vector: Four) {
        // SAFETY: valid for four values by contract.
        unsafe { to.cast::<[u16; 4]>().write_unaligned(vector.0.map(crate::bf16::narrow)) }
    }

    #[inline(always)]
    unsafe fn lower_bf16(pairs: Four) -> Four {
        Four(pairs.0.map(|pair| f32::from_bits(pair.to_bits() << 16)))
    }

    #[inline(always)]
    unsafe fn upper_bf16(pairs: Four) -> Four {
        Four(pairs.0.map(|pair| f32::from_bits(pair.to_bits() & 0xffff_0000)))
    }

    #[inline(always)]
    unsafe fn fma(a: Four, b: Four, c: Four) -> Four {
        // Without hardware support `mul_add` is a slow library call; ARM64 has it in its baseline.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            Four(std::array::from_fn(|lane| a.0[lane].mul_add(b.0[lane], c.0[lane])))
        } else {
            map(map(a, b, |a, b| a * b), c, |product, c| product + c)
        }
    }

    #[inline(always)]
    unsafe fn add(a: Four, b: Four) -> Four {
        map(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Four, b: Four) -> Four {
        map(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Four, b: Four) -> Four {
        map(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn max(a: Four, b: Four) -> Four {
        map(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn positive(value: Four, yes: Four, no: Four) -> Four {
        Four(std::array::from_fn(|lane| if value.0[lane] > 0.0 { yes.0[lane] } else { no.0[lane] }))
    }
}

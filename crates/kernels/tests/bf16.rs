//! Rounding to bf16 against the `half` crate, to the bit, at every CPU level.

// A failing helper must fail the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/vector_code.rs"]
mod vector_code;

use half::bf16;
use nnunet_kernels::activation::apply;
use nnunet_kernels::conv::Source;
use nnunet_kernels::layout::{BlockedShape, to_blocked};
use nnunet_kernels::{Context, CpuLevel, Values, ValuesMut};
use proptest::prelude::*;

/// Rounds `values`, a multiple of 16, by vectors and one by one.
fn check(values: &[f32]) {
    let shape = BlockedShape { batch: 1, channels: 16, spatial: [1, 1, values.len() / 16] };
    let lanes = BlockedShape { batch: values.len() / 16, channels: 16, spatial: [1; 3] };
    for level in CpuLevel::available() {
        let ctx = Context::new(level, 2);
        let (mut vectors, mut single) = (vec![0; values.len()], vec![0; values.len()]);
        apply(&ctx, &shape, &Source::raw(values), ValuesMut::Bf16(&mut vectors)).unwrap();
        to_blocked(&ctx, &lanes, values, ValuesMut::Bf16(&mut single)).unwrap();
        for (at, value) in values.iter().enumerate() {
            let expected = bf16::from_f32(*value).to_bits();
            let found = (vectors[at], single[at]);
            assert_eq!(found, (expected, expected), "{value:e} ({:#x}) at {}", value.to_bits(), level.name());
        }
        // Widening is exact, and rounding what was rounded changes nothing.
        let mut widened = vec![0.0; values.len()];
        let source = Source { data: Values::Bf16(&vectors), affine: None };
        apply(&ctx, &shape, &source, &mut widened).unwrap();
        apply(&ctx, &shape, &source, ValuesMut::Bf16(&mut single)).unwrap();
        assert_eq!(single, vectors, "{}", level.name());
        for (at, bits) in vectors.iter().enumerate() {
            let expected = bf16::from_bits(*bits).to_f32().to_bits();
            let found = [widened[at].to_bits(), Values::Bf16(&vectors).get(at).to_bits()];
            assert_eq!(found, [expected; 2], "{bits:#x} at {}", level.name());
        }
    }
}

#[test]
fn special_values() {
    // Upper halves: zero, denormal, smallest normal, one and its neighbours, largest, infinite, NaN; lower halves around a tie.
    let upper = [
        0_u32, 1, 2, 0x7f, 0x80, 0x81, 0x3f7f, 0x3f80, 0x3f81, 0x7f7e, 0x7f7f, 0x7f80, 0x7f81, 0x7fbf,
        0x7fc0, 0x7fff,
    ];
    let lower = [0_u32, 1, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
    let bits = upper.iter().flat_map(|upper| lower.iter().map(move |lower| upper << 16 | lower));
    let values: Vec<f32> = bits.flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect();
    assert!(values.iter().all(|value| value.is_nan() == bf16::from_f32(*value).is_nan()));
    check(&values);
}

#[test]
fn values_in_f32_memory() {
    let memory = [1.0_f32; 4];
    let values = Values::bf16_in(&memory, 7);
    assert_eq!((values.len(), values.get(1)), (7, 1.0));
    assert!(Values::bf16_in(&memory, 9).is_empty());
    assert_eq!(Values::F32(&memory).get(3), 1.0);
    let mut memory = [0.0_f32; 4];
    let ValuesMut::Bf16(places) = ValuesMut::bf16_in(&mut memory, 8) else { panic!("f32") };
    places[1] = 0x3f80;
    assert_eq!(memory[0], 1.0);
    assert!(matches!(ValuesMut::bf16_in(&mut memory, 9), ValuesMut::Bf16(places) if places.is_empty()));
}

proptest! {
    #[test]
    fn all_bits(bits in prop::collection::vec(any::<u32>(), 64)) {
        check(&bits.into_iter().map(f32::from_bits).collect::<Vec<_>>());
    }
}

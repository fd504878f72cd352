//! Random tensors and comparison, shared by the tests against the scalar kernels.

use nnunet_kernels::Context;
use nnunet_kernels::layout::{AlignedBuffer, BlockedShape, to_blocked};

/// Reproducible values in -1..1.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn value(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }

    pub(crate) fn blocked(&mut self, ctx: &Context, shape: &BlockedShape) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::new(shape.len());
        to_blocked(ctx, shape, &self.values(shape.plain_len()), &mut buffer).unwrap();
        buffer
    }

    /// Scale and shift per (sample, padded channel), zero for padding channels.
    pub(crate) fn affine(&mut self, shape: &BlockedShape) -> [Vec<f32>; 2] {
        [(); 2].map(|()| {
            let mut values = self.values(shape.vector_len());
            for (at, value) in values.iter_mut().enumerate() {
                if at % shape.padded_channels() >= shape.channels {
                    *value = 0.0;
                }
            }
            values
        })
    }
}

pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], magnitude: f32) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= 1e-5 * magnitude.max(1.0);
        assert!(close, "{what}[{at}] is {found}, the scalar kernel has {expected}");
    }
}

//! Tensors that kernels read and write as f32 or as bf16, rounded by the `half` crate.

use half::bf16;
use nnunet_kernels::Values;
use nnunet_kernels::layout::AlignedBuffer;

/// A tensor with its bits where it is bf16. Its values are the rounded ones then.
pub(crate) struct Stored {
    values: AlignedBuffer,
    bits: Option<Vec<u16>>,
}

impl Stored {
    pub(crate) fn new(mut values: AlignedBuffer, as_bf16: bool) -> Self {
        let bits = as_bf16.then(|| {
            let rounded: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
            values.iter_mut().zip(&rounded).for_each(|(value, rounded)| *value = rounded.to_f32());
            rounded.iter().map(|rounded| rounded.to_bits()).collect()
        });
        Self { values, bits }
    }

    /// As the kernels read them.
    pub(crate) fn data(&self) -> Values<'_> {
        self.bits.as_deref().map_or(Values::F32(&self.values), Values::Bf16)
    }

    /// The same values as f32.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A result that a kernel wrote as bf16 is that which it wrote as f32, rounded.
pub(crate) fn assert_rounded(what: &str, found: &[u16], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let rounded = bf16::from_f32(*expected).to_bits();
        assert_eq!(*found, rounded, "{what}[{at}] of {expected:e}");
    }
}

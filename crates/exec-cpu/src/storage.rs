//! What values are kept as between the step that makes them and their readers: f32, or bf16 in half the memory.
//!
//! Either way kernels sum up in f32, and take statistics before they round; gradients and parameters are f32.

use nnunet_kernels::conv::Precision;
use nnunet_kernels::layout::{BlockedShape, LANES};
use nnunet_kernels::{Values, ValuesMut};

use super::program::{Action, Program, ValueId};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    F32,
    Bf16,
}

impl Storage {
    /// Elements of the executor's memory that a value takes: whole cache lines.
    fn len(self, shape: &BlockedShape) -> usize {
        match self {
            Self::F32 => shape.len(),
            Self::Bf16 => shape.len().div_ceil(2).next_multiple_of(LANES),
        }
    }

    /// The value of a shape that `memory` holds; nothing if it is too short.
    pub(super) fn values<'a>(self, memory: &'a [f32], shape: &BlockedShape) -> Values<'a> {
        match self {
            Self::F32 => Values::F32(memory),
            Self::Bf16 => Values::bf16_in(memory, shape.len()),
        }
    }

    /// The same to be written.
    pub(super) fn values_mut<'a>(self, memory: &'a mut [f32], shape: &BlockedShape) -> ValuesMut<'a> {
        match self {
            Self::F32 => ValuesMut::F32(memory),
            Self::Bf16 => ValuesMut::bf16_in(memory, shape.len()),
        }
    }
}

/// The types of all values.
pub(super) fn choose(program: &Program, precision: Precision) -> Vec<Storage> {
    let mut storage = vec![Storage::F32; program.values.len()];
    if precision != Precision::Bf16 {
        return storage;
    }
    for step in &program.steps {
        let Some(value) = step.output else { continue };
        storage[value] = match step.action {
            Action::FirstLayer(_) | Action::Convolution(_) => Storage::Bf16,
            // Its statistics are taken from memory.
            _ if program.values[value].norm.is_some() => Storage::F32,
            Action::Add { .. } if step.sources.iter().any(|&term| storage[term] == Storage::F32) => {
                Storage::F32
            }
            _ => Storage::Bf16,
        };
    }
    storage
}

/// Shapes and types of all values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) shapes: &'a [BlockedShape],
    pub(super) storage: &'a [Storage],
}

impl Kept<'_> {
    /// Elements of the executor's memory that a value takes.
    pub(super) fn len(&self, value: ValueId) -> usize {
        self.storage[value].len(&self.shapes[value])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::program::compile;

    #[test]
    fn all_is_rounded_but_what_statistics_are_taken_of_in_memory() {
        for (nonlin_first, f32_values) in [(false, 0), (true, 6)] {
            let kwargs = json!({
                "n_stages": 2, "features_per_stage": 4, "conv_op": "Conv3d", "kernel_sizes": 3, "strides": [1, 2],
                "n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2, "norm_op": "InstanceNorm3d",
                "nonlin": "GELU", "nonlin_first": nonlin_first
            });
            let graph = nnunet_graph::build("PlainConvUNet", &kwargs, 1, 2, true).unwrap();
            let program = compile(&graph).unwrap();
            let count = |precision| {
                choose(&program, precision).into_iter().filter(|storage| *storage == Storage::F32).count()
            };
            assert_eq!(count(Precision::Fast), program.values.len());
            assert_eq!(count(Precision::Bf16), f32_values, "nonlin_first {nonlin_first}");
        }
    }
}

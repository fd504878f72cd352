//! Packs weights into the order in which the kernels read them ([`super::packed`]).

use crate::bf16::narrow;
use crate::error::check_length;
use crate::layout::LANES;
use crate::memory::{AlignedBuffer, SharedMut};
use crate::{Context, KernelError};

use super::direct::micro::Words;
use super::packed::{Order, Packed};
use super::taps::Taps;
use super::winograd::{self, WeightBlock};
use super::{Algorithm, ConvShape};

/// Rounds weights `[tap][16 summed channels][width]` to bf16, in pairs `[tap][8][width]` of summed channels.
fn pair(weights: &[f32], width: usize, pairs: &mut [f32]) {
    for (weights, pairs) in weights.chunks_exact(2 * width).zip(pairs.chunks_exact_mut(width)) {
        let (lower, upper) = weights.split_at(width);
        for ((lower, upper), pair) in lower.iter().zip(upper).zip(pairs) {
            *pair = f32::from_bits(u32::from(narrow(*lower)) | u32::from(narrow(*upper)) << 16);
        }
    }
}

impl Packed {
    /// `result_stride` and `sum_stride` say where natural weights of the next result and summed channel are.
    fn pack(
        &mut self,
        ctx: &Context,
        natural: &[f32],
        result_stride: usize,
        sum_stride: usize,
        reversed: bool,
    ) -> Result<(), KernelError> {
        let taps = self.taps();
        let expected = self.shape.out_channels * self.shape.source_channels.iter().sum::<usize>() * taps;
        check_length("weights", natural.len(), expected)?;
        self.data.at_least(self.order.len);
        if let Algorithm::Winograd(variant) = self.algorithm() {
            self.transform(ctx, variant, natural, result_stride, sum_stride, reversed);
            return Ok(());
        }
        let Order { summed, words, .. } = &self.order;
        let data = SharedMut::new(&mut self.data);
        ctx.pool().par_for(self.order.pairs(), |thread, task| {
            let (group, index) = self.order.group_and_block(task);
            let width = group.blocks * LANES;
            let (len, part) = (taps * LANES * width, self.order.block_stride(group));
            // SAFETY: each task writes the range of its own (group, summed block).
            #[allow(unsafe_code)]
            let result = unsafe { data.part(group.offset + index * part, part) };
            let mut scratch = ctx.scratch(thread);
            let packed = match words {
                Words::F32 => &mut result[..],
                Words::Bf16 => &mut scratch.at_least(len)[..len],
            };
            if group.channels < width || summed[index].channels < LANES {
                packed.fill(0.0);
            }
            for sum in 0..summed[index].channels {
                let first = group.channel * result_stride + (summed[index].channel + sum) * sum_stride;
                let results = (result_stride, group.channels);
                Taps { natural: &natural[first..], results, taps, reversed: false }
                    .write(&mut packed[sum * width..], LANES * width);
            }
            if *words == Words::Bf16 {
                pair(&scratch[..len], width, result);
            }
        });
        Ok(())
    }

    /// As [`Packed::pack`], for weights in the transform domain.
    fn transform(
        &mut self,
        ctx: &Context,
        variant: winograd::Variant,
        natural: &[f32],
        result_stride: usize,
        sum_stride: usize,
        reversed: bool,
    ) {
        let summed = &self.order.summed;
        let kernel = self.shape.kernel;
        let data = SharedMut::new(&mut self.data);
        ctx.pool().par_for(self.order.pairs(), |_, task| {
            let (group, index) = self.order.group_and_block(task);
            let block = WeightBlock {
                variant,
                taps_z: kernel[0],
                natural,
                first: group.channel * result_stride + summed[index].channel * sum_stride,
                results: (result_stride, group.channels),
                sums: (sum_stride, summed[index].channels),
                reversed,
                width: group.blocks * LANES,
            };
            block.transform_into(ctx, data, group.offset, index, summed.len());
        });
    }
}

macro_rules! packed_weights {
    ($(#[$meta:meta])* $name:ident, $results:expr, $sums:expr, $strides:expr, $reversed:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name(pub(crate) Packed);

        impl $name {
            /// For the channels and kernel of `shape` (its batch, input size and stride do not matter) and direct sums. Takes
            /// memory with the first [`Self::pack`].
            pub fn new(shape: &ConvShape) -> Self {
                Self::with_algorithm(shape, Algorithm::Direct)
            }

            /// As [`Self::new`], for the algorithm that [`super::choose`] names. The convolution then uses it. An algorithm
            /// that does not support the kernel or stride of `shape` counts as direct.
            pub fn with_algorithm(shape: &ConvShape, algorithm: Algorithm) -> Self {
                let algorithm = if algorithm.supports(shape) { algorithm } else { Algorithm::Direct };
                let (results, sums): (fn(&ConvShape) -> Vec<usize>, fn(&ConvShape) -> Vec<usize>) = ($results, $sums);
                Self(Packed::new(shape, algorithm, &results(shape), &sums(shape)))
            }

            /// Packs natural weights `[co][ci][kz][ky][kx]`. May be called again after every optimiser step and then allocates
            /// nothing.
            ///
            /// # Errors
            /// If `natural` does not have the length of the convolution's weights.
            pub fn pack(&mut self, ctx: &Context, natural: &[f32]) -> Result<(), KernelError> {
                let strides: fn(usize, usize) -> (usize, usize) = $strides;
                let in_channels = self.0.shape.source_channels.iter().sum();
                let (result, sum) = strides(in_channels, self.0.taps());
                self.0.pack(ctx, natural, result, sum, $reversed)
            }

            /// As [`Self::pack`], into `memory`, which grows as needed and stays here until [`Self::give_back`]: many weights can
            /// share it, one after the other.
            ///
            /// # Errors
            /// As [`Self::pack`]; the memory has been given back then.
            pub fn pack_into(
                &mut self,
                ctx: &Context,
                natural: &[f32],
                memory: &mut AlignedBuffer,
            ) -> Result<(), KernelError> {
                self.give_back(memory);
                self.pack(ctx, natural).inspect_err(|_| self.give_back(memory))
            }

            /// Exchanges the memory that [`Self::pack_into`] took for the weights' own.
            pub fn give_back(&mut self, memory: &mut AlignedBuffer) {
                std::mem::swap(&mut self.0.data, memory);
            }

            pub(crate) fn check(&self, shape: &ConvShape) -> Result<(), KernelError> {
                self.0.check(shape)
            }
        }
    };
}

packed_weights!(
    /// Weights packed for [`super::forward`]: results are output channels, sums run over the sources.
    ForwardWeights,
    |shape| vec![shape.out_channels],
    |shape| shape.source_channels.clone(),
    |in_channels, taps| (in_channels * taps, taps),
    false
);
packed_weights!(
    /// Weights packed for [`super::backward_data`]: results are source channels, sums run over the output channels.
    DataWeights,
    |shape| shape.source_channels.clone(),
    |shape| vec![shape.out_channels],
    |in_channels, taps| (taps, in_channels * taps),
    true
);

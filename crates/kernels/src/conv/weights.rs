//! Weights in the order in which the kernels read them.
//!
//! Result channels (output channels forward, source channels for the data gradient) are taken in groups of two blocks, a last odd
//! block alone: one group's vectors fill the registers of the microkernel. Packed order: `[group][block of summed channels][tap][16
//! summed channels][32 or 16 result channels]`. The order is the same at every CPU level. Padding is zero. Weights for a Winograd
//! convolution are transformed, in the order `[group][point][block of summed channels][tap][16][32 or 16]`. Rounded to bf16 they are pairs of
//! summed channels, `[group][block][tap][8 pairs][32 or 16 result channels]`.

use crate::bf16::narrow;
use crate::error::check_length;
use crate::layout::{AlignedBuffer, LANES, SharedMut, blocks};
use crate::{Context, KernelError};

use super::direct::micro::Words;
use super::taps::Taps;
use super::winograd::{self, WeightBlock};
use super::{Algorithm, ConvShape};

/// Two blocks of result channels, or one: what a microkernel computes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    /// Which source the result channels belong to (0 for the forward direction).
    pub(crate) source: usize,
    /// First result block, counted within the source.
    pub(crate) block: usize,
    /// 1 or 2 blocks.
    pub(crate) blocks: usize,
    /// First result channel in natural numbering.
    pub(crate) channel: usize,
    /// Result channels that are not padding.
    pub(crate) channels: usize,
    /// Where the group's packed weights start.
    pub(crate) offset: usize,
}

impl Group {
    /// Padding channels of the last block.
    pub(crate) fn padding(&self) -> usize {
        self.blocks * LANES - self.channels
    }
}

/// A block of 16 summed channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SummedBlock {
    /// First channel in natural numbering.
    pub(crate) channel: usize,
    /// Channels that are not padding.
    pub(crate) channels: usize,
}

/// The order of packed weights.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) groups: Vec<Group>,
    pub(crate) summed: Vec<SummedBlock>,
    taps: usize,
    /// What weights are packed as.
    pub(crate) words: Words,
    /// Packed words.
    pub(crate) len: usize,
}

/// Packed weights with the description of their order; the two directions share it.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    shape: PackedFor,
    algorithm: Algorithm,
    pub(crate) order: Order,
    /// Empty before the first packing; may be longer than the order.
    pub(crate) data: AlignedBuffer,
}

/// Packed weights for the blocks of summed channels from `first_block` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceWeights<'a> {
    pub(crate) packed: &'a Packed,
    pub(crate) first_block: usize,
}

/// What of a convolution its packed weights depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PackedFor {
    source_channels: Vec<usize>,
    out_channels: usize,
    kernel: [usize; 3],
}

impl PackedFor {
    fn fits(&self, shape: &ConvShape) -> bool {
        self.source_channels == shape.source_channels
            && self.out_channels == shape.out_channels
            && self.kernel == shape.kernel
    }
}

fn summed_blocks(sources: &[usize]) -> Vec<SummedBlock> {
    let mut list = Vec::new();
    let mut first = 0;
    for &channels in sources {
        for block in 0..blocks(channels) {
            list.push(SummedBlock {
                channel: first + block * LANES,
                channels: (channels - block * LANES).min(LANES),
            });
        }
        first += channels;
    }
    list
}

impl Order {
    /// Results and sums are the channel counts of the tensors on either side, `taps` the packed weights of a pair of channels.
    fn new(results: &[usize], sums: &[usize], taps: usize, words: Words) -> Self {
        let summed = summed_blocks(sums);
        let (mut groups, mut first, mut offset) = (Vec::new(), 0, 0);
        for (source, &channels) in results.iter().enumerate() {
            for block in (0..blocks(channels)).step_by(2) {
                let in_group = (blocks(channels) - block).min(2);
                groups.push(Group {
                    source,
                    block,
                    blocks: in_group,
                    channel: first + block * LANES,
                    channels: (channels - block * LANES).min(in_group * LANES),
                    offset,
                });
                offset += summed.len() * taps * words.of_block() * in_group * LANES;
            }
            first += channels;
        }
        Self { groups, summed, taps, words, len: offset }
    }

    /// The order of [`ForwardWeights`], in which weight gradients are summed too.
    pub(crate) fn forward(shape: &ConvShape) -> Self {
        Self::new(&[shape.out_channels], &shape.source_channels, shape.taps(), Words::F32)
    }

    /// Pairs of a group and a block of summed channels.
    pub(crate) fn pairs(&self) -> usize {
        self.groups.len() * self.summed.len()
    }

    /// The group and the block of a pair. Groups come first: their weights lie far apart, so that threads that take pairs one after the
    /// other do not write side by side.
    pub(crate) fn group_and_block(&self, pair: usize) -> (&Group, usize) {
        (&self.groups[pair % self.groups.len()], pair / self.groups.len())
    }

    /// Words from one block of summed channels to the next within a group.
    pub(crate) fn block_stride(&self, group: &Group) -> usize {
        self.taps * self.words.of_block() * group.blocks * LANES
    }
}

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
    fn new(shape: &ConvShape, algorithm: Algorithm, results: &[usize], sums: &[usize]) -> Self {
        let order = Order::new(results, sums, algorithm.packed_taps(shape.kernel), algorithm.words());
        let shape = PackedFor {
            source_channels: shape.source_channels.clone(),
            out_channels: shape.out_channels,
            kernel: shape.kernel,
        };
        Self { shape, algorithm, data: AlignedBuffer::default(), order }
    }

    fn taps(&self) -> usize {
        self.shape.kernel.iter().product()
    }

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
        if let Algorithm::Winograd(variant) = self.algorithm {
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

    /// For all blocks of summed channels.
    pub(crate) fn whole(&self) -> SourceWeights<'_> {
        SourceWeights { packed: self, first_block: 0 }
    }

    /// The algorithm that the weights are packed for.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn check(&self, shape: &ConvShape) -> Result<(), KernelError> {
        let is_packed = !self.data.is_empty() && self.data.len() >= self.order.len;
        if is_packed && self.shape.fits(shape) && self.algorithm.supports(shape) {
            return Ok(());
        }
        let packed = if is_packed { format!("{:?}", self.shape) } else { "nothing yet".to_owned() };
        Err(KernelError::PackedWeights { packed, asked: format!("{shape:?}") })
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

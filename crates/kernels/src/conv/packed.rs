//! Packed weights: their memory, and the order in which the kernels read them.
//!
//! Result channels (output channels forward, source channels for the data gradient) are taken in groups of two blocks, a last odd
//! block alone: one group's vectors fill the registers of the microkernel. Packed order: `[group][block of summed channels][tap][16
//! summed channels][32 or 16 result channels]`. The order is the same at every CPU level. Padding is zero. Weights for a Winograd
//! convolution are transformed, in the order `[group][point][block of summed channels][tap][16][32 or 16]`. Rounded to bf16 they are pairs of
//! summed channels, `[group][block][tap][8 pairs][32 or 16 result channels]`.

use crate::KernelError;
use crate::layout::{LANES, blocks};
use crate::memory::AlignedBuffer;

use super::direct::micro::Words;
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
    pub(super) shape: PackedFor,
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
pub(super) struct PackedFor {
    pub(super) source_channels: Vec<usize>,
    pub(super) out_channels: usize,
    pub(super) kernel: [usize; 3],
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

    /// The order of [`super::ForwardWeights`], in which weight gradients are summed too.
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

impl Packed {
    pub(super) fn new(shape: &ConvShape, algorithm: Algorithm, results: &[usize], sums: &[usize]) -> Self {
        let order = Order::new(results, sums, algorithm.packed_taps(shape.kernel), algorithm.words());
        let shape = PackedFor {
            source_channels: shape.source_channels.clone(),
            out_channels: shape.out_channels,
            kernel: shape.kernel,
        };
        Self { shape, algorithm, data: AlignedBuffer::default(), order }
    }

    pub(super) fn taps(&self) -> usize {
        self.shape.kernel.iter().product()
    }

    /// For all blocks of summed channels.
    pub(crate) fn whole(&self) -> SourceWeights<'_> {
        SourceWeights { packed: self, first_block: 0 }
    }

    /// The algorithm that the weights are packed for.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn check(&self, shape: &ConvShape) -> Result<(), KernelError> {
        let is_packed = !self.data.is_empty() && self.data.len() >= self.order.len;
        if is_packed && self.shape.fits(shape) && self.algorithm.supports(shape) {
            return Ok(());
        }
        let packed = if is_packed { format!("{:?}", self.shape) } else { "nothing yet".to_owned() };
        Err(KernelError::PackedWeights { packed, asked: format!("{shape:?}") })
    }
}

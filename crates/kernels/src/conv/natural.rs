//! Weight gradients from the order in which they are summed into natural order `[co][ci][taps]`; [`super::taps`] reads that order.

#![allow(unsafe_code)]

use super::ConvShape;
use super::packed::{Group, Order};
use crate::Context;
use crate::layout::LANES;
use crate::memory::SharedMut;
use crate::simd::{Streaming, transpose4};

/// Taps that are brought into natural order at a time: the 27 of a 3x3x3 kernel, in fours.
const TAPS_AT_ONCE: usize = 28;
/// Output channels that are brought into natural order at a time: a line of the sums, which is then read once.
const CHANNELS_AT_ONCE: usize = LANES;
/// Natural weights of one output channel that are collected in the nearest caches and then written in one go: those of 16
/// source channels with a 3x3x3 kernel.
const COLLECTED: usize = LANES * TAPS_AT_ONCE;

/// A weight gradient in natural order, written piece by piece from sums in `order`.
pub(super) struct NaturalGradient<'a> {
    shape: &'a ConvShape,
    order: &'a Order,
    weights: SharedMut<'a, f32>,
}

impl<'a> NaturalGradient<'a> {
    /// `order` is [`Order::forward`] of `shape`, `weights` are as many as the shape has.
    pub(super) fn new(shape: &'a ConvShape, order: &'a Order, weights: &'a mut [f32]) -> Self {
        Self { shape, order, weights: SharedMut::new(weights) }
    }

    /// Adds sums of `order`, one after the other in `partial`, in their order and writes them.
    pub(super) fn add_parts(self, ctx: &Context, partial: &[f32]) {
        ctx.pool().par_for(self.order.pairs(), |_, task| {
            let (group, block) = self.order.group_and_block(task);
            let len = self.order.block_stride(group);
            let parts = partial.chunks_exact(self.order.len);
            // SAFETY: each task writes the weights of its own pair.
            unsafe { self.write(group, block, parts.map(|sums| &sums[group.offset + block * len..][..len])) };
        });
    }

    /// Adds the sums `[tap][16][output channels]` of all parts in their order and writes them where the natural weights of the group
    /// and the source block are.
    ///
    /// # Safety
    /// Nobody else writes the weights of the group and the source block.
    pub(super) unsafe fn write<'b>(
        &self,
        group: &Group,
        block: usize,
        parts: impl Iterator<Item = &'b [f32]> + Clone,
    ) {
        let (taps, in_channels) = (self.shape.taps(), self.shape.in_channels());
        let summed = &self.order.summed[block];
        let width = group.blocks * LANES;
        let sums_at_once = (COLLECTED / taps).clamp(1, LANES);
        // The last square of four taps may reach beyond the others.
        let mut collected = [[0.0_f32; COLLECTED + 4]; CHANNELS_AT_ONCE];
        let streaming = Streaming::new();
        for first in (0..group.channels).step_by(CHANNELS_AT_ONCE) {
            for first_sum in (0..summed.channels).step_by(sums_at_once) {
                let sums_here = sums_at_once.min(summed.channels - first_sum);
                for sum in 0..sums_here {
                    let read = (first_sum + sum) * width + first;
                    collect(parts.clone(), taps, read, LANES * width, &mut collected, sum * taps);
                }
                for (channel, collected) in (first..group.channels).zip(&collected) {
                    let input = (group.channel + channel) * in_channels + summed.channel + first_sum;
                    // SAFETY: by the contract of this function.
                    let weights = unsafe { self.weights.part(input * taps, sums_here * taps) };
                    streaming.copy(weights, &collected[..sums_here * taps]);
                }
            }
        }
    }
}

/// Adds the parts of one source channel and some output channels, which are at `first + tap * tap_stride`, and writes the taps of each
/// output channel one after the other from `at` on.
fn collect<'b>(
    parts: impl Iterator<Item = &'b [f32]> + Clone,
    taps: usize,
    first: usize,
    tap_stride: usize,
    collected: &mut [[f32; COLLECTED + 4]; CHANNELS_AT_ONCE],
    at: usize,
) {
    for first_tap in (0..taps).step_by(TAPS_AT_ONCE) {
        let count = TAPS_AT_ONCE.min(taps - first_tap);
        let mut rows = [[0.0_f32; CHANNELS_AT_ONCE]; TAPS_AT_ONCE];
        for sums in parts.clone() {
            for (tap, row) in rows[..count].iter_mut().enumerate() {
                let sums = &sums[first + (first_tap + tap) * tap_stride..][..CHANNELS_AT_ONCE];
                row.iter_mut().zip(sums).for_each(|(row, sum)| *row += sum);
            }
        }
        for channel in (0..CHANNELS_AT_ONCE).step_by(4) {
            for tap in (0..count).step_by(4) {
                let square = transpose4(std::array::from_fn(|row| {
                    std::array::from_fn(|column| rows[tap + row][channel + column])
                }));
                for (collected, taps) in collected[channel..].iter_mut().zip(square) {
                    collected[at + first_tap + tap..][..4].copy_from_slice(&taps);
                }
            }
        }
    }
}

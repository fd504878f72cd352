//! The Winograd convolution: the transform of the input, then [`super::products`]. [`Schedule`] says how the work is cut.

#![allow(unsafe_code)]

use crate::Context;
use crate::layout::LANES;
use crate::memory::SharedMut;
use crate::values::SharedValues;

use super::super::packed::{Group, SourceWeights};
use super::super::source::StatisticsMut;
use super::input::{InputRows, Inputs};
use super::pair_products;
use super::products::{MOMENTS, ProductTask, compute_products};
use super::region::{Slots, Strips, Tiling, odd};
use super::schedule::Schedule;

/// A tensor that receives results.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Target<'a> {
    /// Values in the blocked layout.
    pub(in crate::conv) data: SharedValues<'a>,
    /// Blocks of a sample.
    pub(in crate::conv) blocks: usize,
    /// Add to what is there; not to bf16.
    pub(in crate::conv) accumulate: bool,
}

/// One convolution.
#[derive(Clone, Copy)]
pub(in crate::conv) struct Correlation<'a> {
    pub(super) tiling: Tiling,
    pub(super) inputs: Inputs<'a>,
    /// Transformed weights.
    pub(in crate::conv) weights: SourceWeights<'a>,
    /// Bias of the result channels.
    pub(in crate::conv) bias: Option<&'a [f32]>,
    /// One tensor per source of the weights' groups.
    pub(in crate::conv) targets: &'a [Target<'a>],
}

impl Correlation<'_> {
    /// Computes the convolution and, if asked for, the statistics of its output (of the first target).
    pub(in crate::conv) fn run(&self, ctx: &Context, statistics: Option<StatisticsMut<'_>>) {
        let tiling = &self.tiling;
        let schedule = Schedule::new(tiling, self.weights.packed.order.groups.len());
        let (strips, rows) = schedule.strips_per_plane(tiling);
        let out_blocks = self.targets.first().map_or(0, |target| target.blocks);
        let units = tiling.size[0] * strips;
        let moments_len = if statistics.is_some() { tiling.batch * out_blocks * units * MOMENTS } else { 0 };
        let shared_len = match &schedule {
            Schedule::Fused { .. } => 0,
            Schedule::Layered { slots, .. } => slots.len(tiling.blocks),
        };
        let mut shared = ctx.partial();
        let (transformed, moments) = shared.at_least(shared_len + moments_len).split_at_mut(shared_len);
        let rounds = self.targets.iter().any(|target| matches!(target.data, SharedValues::Bf16(_)));
        let strip_len = rows * tiling.variant.rows() * tiling.size[2] * LANES;
        let pass = Pass {
            job: self,
            strip_len: if rounds { strip_len } else { 0 },
            strips_per_plane: strips,
            moments: statistics.is_some().then(|| SharedMut::new(moments)),
        };
        match schedule {
            Schedule::Fused { rows, segment } => pass.fused(ctx, rows, segment),
            Schedule::Layered { slots, slab, strips, strips_per_task } => {
                pass.layered(ctx, &slots, slab, strips, strips_per_task, transformed);
            }
        }
        if let Some(statistics) = statistics {
            self.merge_moments(ctx, moments, strips, rows, statistics);
        }
    }

    /// Merges the moments of all strips (Chan's formula) in a fixed order, in f64.
    fn merge_moments(
        &self,
        ctx: &Context,
        moments: &[f32],
        strips: usize,
        rows: usize,
        statistics: StatisticsMut<'_>,
    ) {
        let [depth, height, width] = self.tiling.size;
        let rows = rows * self.tiling.variant.rows();
        let (mean, variance) = (SharedMut::new(statistics.mean), SharedMut::new(statistics.variance));
        let units = depth * strips;
        ctx.pool().par_for(moments.len() / (units * MOMENTS), |_, task| {
            // SAFETY: each task writes the statistics of its own block.
            let (mean, variance) =
                unsafe { (mean.part(task * LANES, LANES), variance.part(task * LANES, LANES)) };
            mean.fill(0.0);
            variance.fill(0.0);
            let mut count = 0.0;
            for (unit, part) in
                moments[task * units * MOMENTS..][..units * MOMENTS].chunks_exact(MOMENTS).enumerate()
            {
                let first = unit % strips * rows;
                let added = ((height - first).min(rows) * width) as f64;
                let total = count + added;
                for lane in 0..LANES {
                    let difference = f64::from(part[lane]) - mean[lane];
                    mean[lane] += difference * added / total;
                    variance[lane] +=
                        f64::from(part[LANES + lane]) + difference * difference * count * added / total;
                }
                count = total;
            }
            variance.iter_mut().for_each(|value| *value /= count);
        });
    }
}

/// A correlation with the place of its moments: `[sample][block][plane][strip][mean, squares][16]`.
struct Pass<'a> {
    job: &'a Correlation<'a>,
    /// Values of a strip of one plane and block, which are rounded when it is done; 0 if nothing is rounded.
    strip_len: usize,
    strips_per_plane: usize,
    moments: Option<SharedMut<'a, f32>>,
}

impl Pass<'_> {
    fn fused(&self, ctx: &Context, rows: usize, segment: usize) {
        let tiling = &self.job.tiling;
        let planes = tiling.variant.planes();
        let slots = Slots::ring(tiling, tiling.planes_read(1), rows);
        let input_len = slots.len(tiling.blocks);
        let m_stride = products_stride(planes * rows * tiling.columns());
        let len = input_len + self.products_len(m_stride);
        let segments = tiling.size[0].div_ceil(segment);
        let bands = tiling.rows().div_ceil(rows);
        ctx.pool().par_for(tiling.batch * segments * bands, |thread, task| {
            let mut scratch = ctx.scratch(thread);
            let (transformed, products) = scratch.at_least(len).split_at_mut(input_len);
            let (sample, segment_index, band) =
                (task / (segments * bands), task / bands % segments, task % bands);
            let first = segment_index * segment;
            let last = (first + segment).min(tiling.size[0]);
            let strips =
                Strips { first_layer: sample * tiling.layers(), rows, per_layer: bands, joined: false };
            for z in (first..last).step_by(planes) {
                // The first plane of a segment needs all planes of its taps, a later one has all but the last from before.
                let low = if z == first { 0 } else { tiling.taps_z - 1 };
                for padded in z + low..z + tiling.planes_read(1) {
                    for block in 0..tiling.blocks {
                        let shared = SharedMut::new(&mut *transformed);
                        self.transform(
                            ctx,
                            &slots,
                            sample,
                            padded,
                            block,
                            band * rows,
                            rows.min(tiling.rows() - band * rows),
                            shared,
                        );
                    }
                }
                let strip = z / planes * bands + band;
                for group in &self.job.weights.packed.order.groups {
                    self.products(
                        ctx,
                        &slots,
                        transformed,
                        band * rows,
                        group,
                        &strips,
                        strip..strip + 1,
                        products,
                        m_stride,
                    );
                }
            }
        });
    }

    fn layered(
        &self,
        ctx: &Context,
        slots: &Slots,
        slab: usize,
        mut strips: Strips,
        strips_per_task: usize,
        transformed: &mut [f32],
    ) {
        let tiling = &self.job.tiling;
        let (planes, layers) = (tiling.variant.planes(), tiling.layers());
        let m_stride = products_stride(planes * strips_per_task * strips.rows * tiling.columns());
        let groups = &self.job.weights.packed.order.groups;
        let mut first = 0;
        while first < tiling.batch * layers {
            // Without room for everything, a slab ends with its sample.
            let end = if slots.per_sample > 0 {
                tiling.batch * layers
            } else {
                (first + slab).min((first / layers + 1) * layers)
            };
            let (sample, z) = (first / layers, first % layers * planes);
            let low = if z == 0 { 0 } else { z + tiling.taps_z - 1 };
            let padded = if slots.per_sample > 0 {
                tiling.batch * slots.per_sample
            } else {
                z + tiling.planes_read(end - first) - low
            };
            let shared = SharedMut::new(&mut *transformed);
            ctx.pool().par_for(padded * tiling.blocks, |_, task| {
                // Blocks first: they lie far apart, so that threads do not write side by side.
                let (index, block) = (task / tiling.blocks, task % tiling.blocks);
                let (sample, plane) = match index.checked_div(slots.per_sample) {
                    Some(sample) => (sample, index % slots.per_sample),
                    None => (sample, low + index),
                };
                self.transform(ctx, slots, sample, plane, block, 0, tiling.rows(), shared);
            });
            strips.first_layer = first;
            let all = (end - first) * strips.per_layer;
            let tasks = all.div_ceil(strips_per_task);
            let transformed = &*transformed;
            ctx.pool().par_for(groups.len() * tasks, |thread, task| {
                let mut scratch = ctx.scratch(thread);
                let products = scratch.at_least(self.products_len(m_stride));
                // Even parts, in the order of the groups: threads that run at the same time share weights.
                let part = task % tasks;
                let range = all * part / tasks..all * (part + 1) / tasks;
                self.products(
                    ctx,
                    slots,
                    transformed,
                    0,
                    &groups[task / tasks],
                    &strips,
                    range,
                    products,
                    m_stride,
                );
            });
            first = end;
        }
    }
}

impl Pass<'_> {
    /// Values of M, of what pairs of planes need beside it, and of a strip.
    fn products_len(&self, products_stride: usize) -> usize {
        let tiling = &self.job.tiling;
        let pairs = if tiling.variant.planes() > 1 { pair_products::scratch_len(tiling.blocks) } else { 0 };
        tiling.variant.points() * products_stride + pairs + self.strip_len
    }
}

/// Values of M from one point to the next.
fn products_stride(positions: usize) -> usize {
    odd(positions * 2) * LANES
}

impl Pass<'_> {
    /// Transforms the plane with padded index `padded` of a block into its slot; a plane outside of the image becomes zero where
    /// it is read (groups of positions may span it, pairs of planes always do), and is left alone otherwise.
    fn transform(
        &self,
        ctx: &Context,
        slots: &Slots,
        sample: usize,
        padded: usize,
        block: usize,
        first_row: usize,
        rows: usize,
        transformed: SharedMut<'_, f32>,
    ) {
        let tiling = &self.job.tiling;
        let start = block * slots.block_stride + slots.position(sample, padded) * LANES;
        let tiles = (rows + tiling.halo()) * tiling.columns() * LANES;
        assert!(start + (tiling.variant.points() - 1) * slots.point_stride + tiles <= transformed.len());
        let z = padded.wrapping_sub(tiling.padding_z());
        if z >= tiling.size[0] {
            let is_read = slots.per_sample > 0 || tiling.variant.planes() > 1;
            for point in 0..tiling.variant.points() * usize::from(is_read) {
                // SAFETY: the slot of this plane and block is used by this task alone.
                unsafe { transformed.part(start + point * slots.point_stride, tiles) }.fill(0.0);
            }
            return;
        }
        let plane = self.job.inputs.plane(sample, block, z);
        let rows = InputRows {
            variant: tiling.variant,
            first_row: first_row * tiling.variant.rows(),
            rows: rows + tiling.halo(),
            output: transformed.as_mut_ptr().wrapping_add(start),
            point_stride: slots.point_stride,
        };
        // SAFETY: the plane was checked against its source; the slot lies in V as asserted and is used by this task alone.
        unsafe { rows.transform(ctx.level(), plane) };
    }

    fn products(
        &self,
        ctx: &Context,
        slots: &Slots,
        transformed: &[f32],
        first_row: usize,
        group: &Group,
        strips: &Strips,
        range: std::ops::Range<usize>,
        products: &mut [f32],
        products_stride: usize,
    ) {
        let tiling = self.job.tiling;
        let width = group.blocks * LANES;
        let target = &self.job.targets[group.source];
        let mut bias = [0.0; 2 * LANES];
        if let Some(values) = self.job.bias {
            bias[..group.channels].copy_from_slice(&values[group.channel..group.channel + group.channels]);
        }
        let block_stride = tiling.taps() * LANES * width;
        let SourceWeights { packed, first_block } = self.job.weights;
        let point_stride = packed.order.summed.len() * block_stride;
        let first = group.offset + first_block * block_stride;
        let len = (tiling.variant.points() - 1) * point_stride + tiling.blocks * block_stride;
        let weights = &packed.data[first..][..len];
        let voxels: usize = tiling.size.iter().product();
        assert!(tiling.batch * target.blocks * voxels * LANES <= target.data.len());
        assert!(group.block + group.blocks <= target.blocks);
        assert!(slots.len(tiling.blocks) <= transformed.len());
        assert_eq!(self.products_len(products_stride), products.len());
        let (products, rest) = products.split_at_mut(tiling.variant.points() * products_stride);
        let (strip, pair_scratch) = rest.split_at_mut(self.strip_len);
        let mut task = ProductTask {
            tiling,
            slots: *slots,
            transformed,
            first_row,
            weights,
            weights_point_stride: point_stride,
            weights_block_stride: block_stride,
            width,
            padding: group.padding(),
            strips: *strips,
            range,
            products,
            products_stride,
            pair_scratch,
            strip,
            bias,
            target: target.data,
            target_blocks: target.blocks,
            target_block: group.block,
            accumulate: target.accumulate,
            moments: self.moments.as_ref().map(|moments| (moments.as_mut_ptr(), self.strips_per_plane)),
        };
        // SAFETY: lengths as asserted; tasks differ in group or strips, so no other task writes the same voxels or moments.
        unsafe {
            compute_products(ctx.level(), &mut task);
        }
    }
}

//! The weight gradient in the transform domain: `dW = G^T [(A dy) o (B^T x)] G`, summed over tiles before the last transform.
//!
//! The tiles of all samples are cut into units: a band of tile rows over a segment of planes. A task sums the units of one part (a
//! fixed run of units) for a pair of source blocks and a group of output channels: it walks along z, keeps the transformed planes
//! that the taps reach in a ring in its L2 cache, and adds outer products to sums in the transform domain, which it transforms back
//! at the end. The parts are then added in their order. Parts follow from the shape alone, so the result does not depend on threads.
//!
//! Where z is transformed too, a step takes pairs of planes, see [`pairs`].
//!
//! Sums are hierarchical, which keeps f32 errors below those of the direct form: some fifty tiles in registers, these in the sums of
//! a part, and the parts.

#![allow(unsafe_code)]

mod task;

use task::{Task, run_task};

use super::input::Inputs;
use super::pairs;
use super::region::{Slots, Tiling, odd};
use crate::Context;
use crate::conv::ConvShape;
use crate::conv::natural::NaturalGradient;
use crate::conv::packed::Order;
use crate::layout::LANES;
use crate::memory::SharedMut;

/// Source blocks of a task: the transform of the gradient is shared by them.
const BLOCKS: usize = 2;
/// Values of V and E together that a task keeps in its L2 cache, beside the sums.
const OPERANDS: usize = 150_000;
/// Positions that a call of the microkernel should have at least.
const POSITIONS: usize = 40;
/// Tasks to aim for.
const WANTED_TASKS: usize = 32;
/// Sums of all parts together, in values.
const MAX_PARTIAL: usize = (32 << 20) / 4;

/// A weight gradient; lengths have been checked.
pub(super) struct WeightGradient<'a> {
    pub(super) shape: &'a ConvShape,
    pub(super) tiling: Tiling,
    pub(super) inputs: Inputs<'a>,
    pub(super) grad_output: &'a [f32],
}

/// How the tiles are cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Rows of tiles of a band, and bands.
    rows: usize,
    bands: usize,
    /// Planes of a segment, and segments.
    segment: usize,
    segments: usize,
    /// Planes summed by one call of the microkernel, whole layers.
    step: usize,
    slots: Slots,
    /// Values of E from one point to the next.
    gradient_stride: usize,
}

impl Cut {
    fn new(tiling: &Tiling, wanted_parts: usize) -> Self {
        let (columns, depth, points) = (tiling.columns(), tiling.size[0], tiling.variant.points());
        let in_layer = tiling.variant.planes();
        // Values per tile of a layer: V of two blocks for each plane that is read, E of two blocks.
        let per_tile = points * LANES * (BLOCKS * tiling.planes_read(1) + 2 * in_layer);
        let most = (OPERANDS / per_tile / columns).saturating_sub(tiling.halo()).clamp(1, tiling.rows());
        let bands = tiling.rows().div_ceil(most);
        let rows = tiling.rows().div_ceil(bands);
        // Small planes are taken several at a time, where their tiles are consecutive.
        let tiles = rows * columns;
        let several = bands == 1 && tiling.halo() == 0;
        let step = if several { POSITIONS.div_ceil(tiles).min(tiling.layers()) } else { 1 } * in_layer;
        let planes = depth.div_ceil(step);
        let segments = wanted_parts.div_ceil(tiling.batch * bands).clamp(1, planes.div_ceil(4));
        let segment = planes.div_ceil(segments) * step;
        let slots = Slots::ring(tiling, step - 1 + tiling.taps_z, rows);
        let gradient_stride = odd(2 * step * tiles) * LANES;
        Self { rows, bands, segment, segments: depth.div_ceil(segment), step, slots, gradient_stride }
    }

    /// The unit `index`: sample, first row of tiles, rows, first plane, plane after the last.
    fn unit(&self, tiling: &Tiling, index: usize) -> Unit {
        let (sample, segment, band) =
            (index / (self.segments * self.bands), index / self.bands % self.segments, index % self.bands);
        let row = band * self.rows;
        let first = segment * self.segment;
        Unit {
            sample,
            row,
            rows: self.rows.min(tiling.rows() - row),
            first,
            end: (first + self.segment).min(tiling.size[0]),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Unit {
    sample: usize,
    row: usize,
    rows: usize,
    first: usize,
    end: usize,
}

impl WeightGradient<'_> {
    /// Writes the gradient in natural order.
    pub(super) fn run(&self, ctx: &Context, grad_weights: &mut [f32]) {
        let tiling = &self.tiling;
        let order = Order::forward(self.shape);
        let chunks = tiling.blocks.div_ceil(BLOCKS);
        let pairs = chunks * order.groups.len();
        let wanted = WANTED_TASKS.div_ceil(pairs);
        let cut = Cut::new(tiling, wanted);
        let units = tiling.batch * cut.segments * cut.bands;
        // Parts of one unit are the most even, parts of several cost less memory and fewer transforms.
        let parts = if units < 2 * wanted { units } else { wanted };
        let parts = parts.min(MAX_PARTIAL / order.len).clamp(1, units);
        let points = tiling.variant.points();
        let input_len = cut.slots.len(BLOCKS);
        let gradient_len = points * cut.gradient_stride;
        let sums_stride = points * tiling.taps() * LANES * 2 * LANES;
        // P and E of the points along z for the tiles of a step.
        let pairs_len = if tiling.variant.planes() > 1 {
            pairs::POINTS * cut.step / 2 * cut.rows * tiling.columns() * 3 * LANES
        } else {
            0
        };
        let mut partial = ctx.partial();
        let partial = &mut partial.at_least(parts * order.len)[..];
        let results = SharedMut::new(partial);
        ctx.pool().par_for(parts * pairs, |thread, index| {
            let (part, chunk, group) = (
                index / pairs,
                index / order.groups.len() % chunks,
                &order.groups[index % order.groups.len()],
            );
            let mut scratch = ctx.scratch(thread);
            let scratch = scratch.at_least(input_len + gradient_len + pairs_len + BLOCKS * sums_stride);
            let (input, rest) = scratch.split_at_mut(input_len);
            let (gradient, rest) = rest.split_at_mut(gradient_len);
            let (pairs, sums) = rest.split_at_mut(pairs_len);
            let first_block = chunk * BLOCKS;
            let blocks = BLOCKS.min(tiling.blocks - first_block);
            let stride = order.block_stride(group);
            let start = part * order.len + group.offset + first_block * stride;
            // SAFETY: each task writes the results of its own part, group and blocks.
            let result = unsafe { results.part(start, blocks * stride) };
            let mut task = Task {
                job: self,
                level: ctx.level(),
                cut,
                units: units * part / parts..units * (part + 1) / parts,
                first_block,
                blocks,
                group,
                width: group.blocks * LANES,
                input,
                gradient,
                pairs,
                sums,
                sums_stride,
                result,
            };
            // SAFETY: the buffers have the lengths that the task asserts, and belong to it.
            unsafe { run_task(ctx.level(), &mut task) };
        });
        NaturalGradient::new(self.shape, &order, grad_weights).add_parts(ctx, partial);
    }
}

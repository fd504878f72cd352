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

use super::Variant;
use super::gradient::{GradientPlane, transform_gradient, transform_sums};
use super::input::{AnyPlane, InputRows, Inputs, transform_plane};
use super::outer::{Outer, outer};
use super::pairs;
use super::region::{Slots, Tiling, odd};
use crate::conv::ConvShape;
use crate::conv::natural::NaturalGradient;
use crate::conv::weights::{Group, Order};
use crate::layout::{LANES, SharedMut};
use crate::simd::{Isa, Simd, at_level};
use crate::{Context, CpuLevel};

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

/// One part for one group and up to two source blocks.
struct Task<'a> {
    job: &'a WeightGradient<'a>,
    level: CpuLevel,
    cut: Cut,
    units: std::ops::Range<usize>,
    first_block: usize,
    blocks: usize,
    group: &'a Group,
    width: usize,
    /// V: `[block][point][slot][tile][16]`.
    input: &'a mut [f32],
    /// E: `[point][position][width]`.
    gradient: &'a mut [f32],
    /// P of a block, then E, of the tiles of a step at one point: `[point along z][position][16 or width]`.
    pairs: &'a mut [f32],
    /// Sums: `[block][point][tap][16][width]`.
    sums: &'a mut [f32],
    /// Values of the sums from one block to the next.
    sums_stride: usize,
    /// `[block][27 or 9 taps][16][width]`.
    result: &'a mut [f32],
}

at_level! {
    /// # Safety
    /// None beyond that of the level: the task checks its buffers.
    unsafe fn run_task = run_task_of(task: &mut Task<'_>)
}

#[inline(always)]
unsafe fn run_task_of<S: Simd>(s: Isa<S>, task: &mut Task<'_>) {
    match task.job.tiling.variant {
        Variant::W1 => task.run::<S, 1, 1>(s),
        Variant::W2 | Variant::W2Z => task.run::<S, 2, 4>(s),
        Variant::W4 => task.run::<S, 4, 6>(s),
    }
}

impl Task<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const POINTS: usize>(&mut self, s: Isa<S>) {
        let tiling = self.job.tiling;
        let points = tiling.variant.points();
        let tap = LANES * self.width;
        assert!(self.cut.slots.len(self.blocks) <= self.input.len());
        assert!(points * self.cut.gradient_stride <= self.gradient.len());
        assert!(points * tiling.taps() * tap <= self.sums_stride);
        assert!(self.blocks * self.sums_stride <= self.sums.len());
        assert!(self.blocks * tiling.taps_z * 9 * tap <= self.result.len());
        self.sums[..self.blocks * self.sums_stride].fill(0.0);
        for index in self.units.clone() {
            let unit = self.cut.unit(&tiling, index);
            let mut z = unit.first;
            while z < unit.end {
                let planes = self.cut.step.min(unit.end - z);
                self.load_input::<S, ROWS, POINTS>(s, &unit, z, planes);
                self.load_gradient::<S, ROWS, POINTS>(s, &unit, z, planes);
                match tiling.variant {
                    Variant::W2Z => self.accumulate_pairs(s, &unit, z, planes),
                    _ => self.accumulate(s, &unit, z, planes),
                }
                z += planes;
            }
        }
        for block in 0..self.blocks {
            if tiling.variant == Variant::W2Z {
                let sums = &mut self.sums[block * self.sums_stride..][..points * tiling.taps() * tap];
                pairs::transform_sums(s, sums, tap);
            }
            // SAFETY: lengths as asserted.
            unsafe {
                let sums = self.sums.as_ptr().add(block * self.sums_stride);
                let result = self.result.as_mut_ptr().add(block * tiling.taps_z * 9 * tap);
                transform_sums::<S, POINTS>(s, sums, tiling.taps(), tiling.taps_z, self.width, result);
            }
        }
    }

    /// Whether every step begins at slot 0 of V: if several planes of a step must be consecutive.
    #[inline(always)]
    fn starts_over(&self) -> bool {
        self.cut.step > 1 && self.job.tiling.variant.planes() == 1
    }

    /// Slot of a plane (padding planes counted) in V.
    #[inline(always)]
    fn slot(&self, z: usize, padded: usize) -> usize {
        if self.starts_over() { padded - z } else { padded % self.cut.slots.count }
    }

    /// Transforms the source planes that the step beginning at plane `z` needs and the ring does not have.
    #[inline(always)]
    fn load_input<S: Simd, const ROWS: usize, const POINTS: usize>(
        &mut self,
        s: Isa<S>,
        unit: &Unit,
        z: usize,
        planes: usize,
    ) {
        let tiling = self.job.tiling;
        let slots = self.cut.slots;
        let low = if z == unit.first || self.starts_over() { 0 } else { tiling.taps_z - 1 };
        for padded in z + low..z + tiling.planes_read(planes.div_ceil(tiling.variant.planes())) {
            let source_z = padded.wrapping_sub(tiling.padding_z());
            let position = self.slot(z, padded) * slots.tiles;
            if source_z >= tiling.size[0] {
                // Only pairs of planes read what lies outside of the image.
                for line in
                    0..self.blocks * tiling.variant.points() * usize::from(tiling.variant == Variant::W2Z)
                {
                    let start = line / tiling.variant.points() * slots.block_stride
                        + line % tiling.variant.points() * slots.point_stride
                        + position * LANES;
                    self.input[start..start + slots.tiles * LANES].fill(0.0);
                }
                continue;
            }
            for block in 0..self.blocks {
                let plane = self.job.inputs.plane(unit.sample, self.first_block + block, source_z);
                // SAFETY: the slot lies in V as asserted in `run`; a band has at most the rows that slots have room for.
                unsafe {
                    let rows = InputRows {
                        variant: tiling.variant,
                        first_row: unit.row * ROWS,
                        rows: unit.rows + tiling.halo(),
                        output: self.input.as_mut_ptr().add(block * slots.block_stride + position * LANES),
                        point_stride: slots.point_stride,
                    };
                    match plane {
                        AnyPlane::F32(plane) => transform_plane::<S, f32, ROWS, POINTS>(
                            s,
                            &plane,
                            rows.first_row,
                            rows.rows,
                            rows.output,
                            rows.point_stride,
                        ),
                        // A call, so that the code for the two types does not lie in one function.
                        AnyPlane::Bf16(_) => rows.transform(self.level, plane),
                    }
                }
            }
        }
    }

    /// Transforms the planes of the output's gradient of a step.
    #[inline(always)]
    fn load_gradient<S: Simd, const ROWS: usize, const POINTS: usize>(
        &mut self,
        s: Isa<S>,
        unit: &Unit,
        z: usize,
        planes: usize,
    ) {
        let [depth, height, width] = self.job.tiling.size;
        let plane_len = height * width * LANES;
        if !planes.is_multiple_of(self.job.tiling.variant.planes()) {
            // The second plane of the last pair lies outside of the image.
            let tile_len = unit.rows * self.job.tiling.columns() * self.width;
            for point in 0..self.job.tiling.variant.points() {
                self.gradient[point * self.cut.gradient_stride + planes * tile_len..][..tile_len].fill(0.0);
            }
        }
        for plane in 0..planes {
            for block in 0..self.group.blocks {
                let tensor_block = unit.sample * self.job.shape.out_blocks() + self.group.block + block;
                let data =
                    &self.job.grad_output[(tensor_block * depth + z + plane) * plane_len..][..plane_len];
                let position = plane * unit.rows * self.job.tiling.columns();
                // SAFETY: E has room for the tiles of all planes of a step, as asserted in `run`.
                unsafe {
                    let plane = GradientPlane {
                        data: data.as_ptr(),
                        height,
                        width,
                        first_row: unit.row * ROWS,
                        rows: unit.rows,
                        output: self.gradient.as_mut_ptr().add(position * self.width + block * LANES),
                        position_stride: self.width,
                        point_stride: self.cut.gradient_stride,
                    };
                    transform_gradient::<S, ROWS, POINTS>(s, &plane);
                }
            }
        }
    }

    /// Adds the outer products of a step of pairs of planes to the sums.
    #[inline(always)]
    fn accumulate_pairs<S: Simd>(&mut self, s: Isa<S>, unit: &Unit, z: usize, planes: usize) {
        let tiling = self.job.tiling;
        let slots = self.cut.slots;
        let tiles = unit.rows * tiling.columns();
        let layers = planes.div_ceil(2);
        let positions = layers * tiles;
        let tile_len = tiles * self.width;
        let offset = |layer: usize, plane: usize| (z + 2 * layer + plane) % slots.count * slots.tiles * LANES;
        assert!(pairs::POINTS * positions * (LANES + self.width) <= self.pairs.len());
        let source = self.pairs.as_mut_ptr();
        let gradient = source.wrapping_add(pairs::POINTS * positions * LANES);
        for point in 0..tiling.variant.points() {
            for layer in 0..layers {
                // SAFETY: E has room for whole layers, as asserted in `run`; the positions lie in the scratch.
                unsafe {
                    let planes =
                        self.gradient.as_ptr().add(point * self.cut.gradient_stride + 2 * layer * tile_len);
                    let target = gradient.add(layer * tile_len);
                    pairs::transform_gradient(s, planes, tile_len, tile_len, target, positions * self.width);
                }
            }
            for block in 0..self.blocks {
                for layer in 0..layers {
                    // SAFETY: the slots lie in V, as asserted in `run`; the positions lie in the scratch.
                    unsafe {
                        let input =
                            self.input.as_ptr().add(block * slots.block_stride + point * slots.point_stride);
                        let planes = std::array::from_fn(|plane| offset(layer, plane));
                        let target = source.add(layer * tiles * LANES);
                        pairs::transform_input(s, input, planes, tiles, target, positions * LANES);
                    }
                }
                for along_z in 0..pairs::POINTS {
                    // SAFETY: the point lies in the scratch; the sums have room for it, as asserted in `run`.
                    unsafe {
                        let operands = Outer {
                            source: source.add(along_z * positions * LANES),
                            gradient: gradient.add(along_z * positions * self.width),
                            width: self.width,
                            positions,
                            sums: self.sums.as_mut_ptr().add(
                                block * self.sums_stride
                                    + (point * pairs::POINTS + along_z) * LANES * self.width,
                            ),
                        };
                        outer(s, &operands);
                    }
                }
            }
        }
    }

    /// Adds the outer products of a step to the sums.
    #[inline(always)]
    fn accumulate<S: Simd>(&mut self, s: Isa<S>, unit: &Unit, z: usize, planes: usize) {
        let tiling = self.job.tiling;
        let slots = self.cut.slots;
        let (columns, taps_y, depth) = (tiling.columns(), tiling.variant.taps_y(), tiling.size[0]);
        let tiles = unit.rows * columns;
        for block in 0..self.blocks {
            for point in 0..tiling.variant.points() {
                for tap in 0..tiling.taps() {
                    let (tap_z, tap_y) = (tap / taps_y, tap % taps_y);
                    // Planes of the step whose tap lies in the image.
                    let first = tiling.padding_z().saturating_sub(z + tap_z).min(planes);
                    let end = (depth + tiling.padding_z()).saturating_sub(z + tap_z).min(planes);
                    if first >= end {
                        continue;
                    }
                    let source = (self.slot(z, z + first + tap_z) * slots.tiles + tap_y * columns) * LANES;
                    // SAFETY: point, tap and positions lie in the buffers, as asserted in `run`.
                    unsafe {
                        let operands = Outer {
                            source: self
                                .input
                                .as_ptr()
                                .add(block * slots.block_stride + point * slots.point_stride + source),
                            gradient: self
                                .gradient
                                .as_ptr()
                                .add(point * self.cut.gradient_stride + first * tiles * self.width),
                            width: self.width,
                            positions: (end - first) * tiles,
                            sums: self.sums.as_mut_ptr().add(
                                block * self.sums_stride + (point * tiling.taps() + tap) * LANES * self.width,
                            ),
                        };
                        outer(s, &operands);
                    }
                }
            }
        }
    }
}

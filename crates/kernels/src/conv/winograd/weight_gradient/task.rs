//! One task of a weight gradient: transforms, sums of outer products, and the transform back.

use super::super::Variant;
use super::super::gradient::{GradientPlane, transform_gradient, transform_sums};
use super::super::input::{AnyPlane, InputRows, transform_plane};
use super::super::outer::{Outer, outer};
use super::super::pairs;
use super::{Cut, Unit, WeightGradient};
use crate::CpuLevel;
use crate::conv::packed::Group;
use crate::layout::LANES;
use crate::simd::{Isa, Simd, at_level};

/// One part for one group and up to two source blocks.
pub(super) struct Task<'a> {
    pub(super) job: &'a WeightGradient<'a>,
    pub(super) level: CpuLevel,
    pub(super) cut: Cut,
    pub(super) units: std::ops::Range<usize>,
    pub(super) first_block: usize,
    pub(super) blocks: usize,
    pub(super) group: &'a Group,
    pub(super) width: usize,
    /// V: `[block][point][slot][tile][16]`.
    pub(super) input: &'a mut [f32],
    /// E: `[point][position][width]`.
    pub(super) gradient: &'a mut [f32],
    /// P of a block, then E, of the tiles of a step at one point: `[point along z][position][16 or width]`.
    pub(super) pairs: &'a mut [f32],
    /// Sums: `[block][point][tap][16][width]`.
    pub(super) sums: &'a mut [f32],
    /// Values of the sums from one block to the next.
    pub(super) sums_stride: usize,
    /// `[block][27 or 9 taps][16][width]`.
    pub(super) result: &'a mut [f32],
}

at_level! {
    /// # Safety
    /// None beyond that of the level: the task checks its buffers.
    pub(super) unsafe fn run_task = run_task_of(task: &mut Task<'_>)
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

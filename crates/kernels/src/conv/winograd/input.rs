//! The transform of the input: rows of a plane to `V[point][tile][16]`, with normalisation and activation applied on load.

#![allow(unsafe_code)]

use crate::CpuLevel;
use crate::conv::Source;
use crate::conv::direct::rows::BlockAffine;
use crate::layout::{LANES, blocks};
use crate::simd::{Isa, Simd, array, at_level};
use crate::values::{Element, Values};

use super::Variant;
use super::transform::{input2, input4};

/// The concatenated sources of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// Sources whose lengths have been checked.
    pub(super) sources: &'a [Source<'a>],
    /// Channels of each source.
    pub(super) channels: &'a [usize],
    /// Voxels (z, y, x).
    pub(super) size: [usize; 3],
}

impl Inputs<'_> {
    /// A plane of a block, counted over all sources.
    pub(super) fn plane(&self, sample: usize, block: usize, z: usize) -> AnyPlane {
        let [depth, height, width] = self.size;
        let (mut block, mut source) = (block, 0);
        while block >= blocks(self.channels[source]) {
            block -= blocks(self.channels[source]);
            source += 1;
        }
        let at = sample * blocks(self.channels[source]) + block;
        let source = &self.sources[source];
        let len = height * width * LANES;
        let affine = BlockAffine::of(source, at);
        match source.data.part((at * depth + z) * len, len) {
            Values::F32(data) => AnyPlane::F32(Plane { data: data.as_ptr(), height, width, affine }),
            Values::Bf16(data) => AnyPlane::Bf16(Plane { data: data.as_ptr(), height, width, affine }),
        }
    }
}

/// A plane of a source of either type.
#[derive(Clone, Copy)]
pub(super) enum AnyPlane {
    F32(Plane<f32>),
    Bf16(Plane<u16>),
}

/// One plane (z fixed) of one block of 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Plane<E> {
    /// The plane's first value.
    pub(super) data: *const E,
    /// Rows.
    pub(super) height: usize,
    /// Voxels in a row.
    pub(super) width: usize,
    /// Normalisation and activation of the block.
    pub(super) affine: Option<BlockAffine>,
}

/// Rows of tiles of a plane and where they go in V.
#[derive(Clone, Copy)]
pub(super) struct InputRows {
    pub(super) variant: Variant,
    /// First output row.
    pub(super) first_row: usize,
    /// Rows of tiles, those of input rows that only neighbours need included.
    pub(super) rows: usize,
    pub(super) output: *mut f32,
    /// Values from one point to the next.
    pub(super) point_stride: usize,
}

impl InputRows {
    /// Transforms the rows of `plane`.
    ///
    /// # Safety
    /// The plane and the output are valid, as [`transform_plane`] says; the level is one that the CPU has.
    pub(super) unsafe fn transform(self, level: CpuLevel, plane: AnyPlane) {
        // SAFETY: by the contract of this function.
        unsafe {
            match plane {
                AnyPlane::F32(plane) => transform_rows(level, &(plane, self)),
                AnyPlane::Bf16(plane) => transform_rows_bf16(level, &(plane, self)),
            }
        }
    }
}

at_level! {
    /// # Safety
    /// As [`transform_plane`].
    unsafe fn transform_rows = transform_rows_of(task: &(Plane<f32>, InputRows))
}

at_level! {
    /// # Safety
    /// As [`transform_plane`].
    unsafe fn transform_rows_bf16 = transform_rows_of(task: &(Plane<u16>, InputRows))
}

#[inline(always)]
unsafe fn transform_rows_of<S: Simd, E: Element>(s: Isa<S>, task: &(Plane<E>, InputRows)) {
    let (plane, InputRows { variant, first_row, rows, output, point_stride }) = *task;
    // SAFETY: by the contract of this function.
    unsafe {
        match variant {
            Variant::W1 => transform_plane::<S, E, 1, 1>(s, &plane, first_row, rows, output, point_stride),
            Variant::W2 | Variant::W2Z => {
                transform_plane::<S, E, 2, 4>(s, &plane, first_row, rows, output, point_stride)
            }
            Variant::W4 => transform_plane::<S, E, 4, 6>(s, &plane, first_row, rows, output, point_stride),
        }
    }
}

/// Transforms `rows` rows of tiles, the first of which has its first output row at `first_row`; `ROWS` is the number of output rows of
/// a tile, `POINTS` of its points along y (`ROWS` 1, `POINTS` 1: y is not transformed, and the input row above `first_row` is
/// the first row written). Tile `(row, column)` and point `p` go to `output + p * point_stride + (row * columns + column) * 16`.
///
/// # Safety
/// `plane` is valid, `output` is valid for all points and tiles, and nobody else uses it.
#[inline(always)]
pub(super) unsafe fn transform_plane<S: Simd, E: Element, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    plane: &Plane<E>,
    first_row: usize,
    rows: usize,
    output: *mut f32,
    point_stride: usize,
) {
    for lane in (0..LANES).step_by(S::LANES) {
        // SAFETY: by the contract of this function; the affine of a valid plane has 16 values.
        unsafe {
            if let Some(affine) = plane.affine {
                let affine = affine.lanes(s, lane);
                transform_lanes::<S, E, ROWS, POINTS>(
                    s,
                    plane,
                    lane,
                    first_row,
                    rows,
                    output,
                    point_stride,
                    #[inline(always)]
                    |value| affine.apply(s, value),
                );
            } else {
                transform_lanes::<S, E, ROWS, POINTS>(
                    s,
                    plane,
                    lane,
                    first_row,
                    rows,
                    output,
                    point_stride,
                    #[inline(always)]
                    |value| value,
                );
            }
        }
    }
}

#[inline(always)]
unsafe fn transform_lanes<S: Simd, E: Element, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    plane: &Plane<E>,
    lane: usize,
    first_row: usize,
    rows: usize,
    output: *mut f32,
    point_stride: usize,
    activate: impl Fn(S::Vector) -> S::Vector,
) {
    let columns = plane.width.div_ceil(4);
    let zero = s.zero();
    for row in 0..rows {
        for column in 0..columns {
            let left = (column * 4) as isize - 1;
            let inside = left >= 0 && left + 6 <= plane.width as isize;
            let mut lines = [[zero; 6]; POINTS];
            for (line, values) in lines.iter_mut().enumerate() {
                let y = first_row + row * ROWS + line;
                if y == 0 || y > plane.height {
                    continue;
                }
                let mut voxels = [zero; 6];
                // SAFETY: row y - 1 lies in the plane, and only columns of the plane are read.
                unsafe {
                    let start = plane.data.add((y - 1) * plane.width * LANES + lane);
                    if inside {
                        for (x, voxel) in voxels.iter_mut().enumerate() {
                            *voxel =
                                activate(E::load::<S>(start.offset((left + x as isize) * LANES as isize)));
                        }
                    } else {
                        for (x, voxel) in voxels.iter_mut().enumerate() {
                            let x = left + x as isize;
                            if x >= 0 && x < plane.width as isize {
                                *voxel = activate(E::load::<S>(start.offset(x * LANES as isize)));
                            }
                        }
                    }
                }
                *values = input4(s, voxels);
            }
            // SAFETY: the tile and all points lie in `output`.
            unsafe {
                let tile = output.add((row * columns + column) * LANES + lane);
                let columns: [[S::Vector; POINTS]; 6] = array!(|x| array!(|y| lines[y][x]));
                for (x, column) in columns.into_iter().enumerate() {
                    for (y, point) in along_y::<S, POINTS>(s, column).into_iter().enumerate() {
                        s.store(tile.add((y * 6 + x) * point_stride), point);
                    }
                }
            }
        }
    }
}

/// The transform along y: F(2, 3) for 4 points, F(4, 3) for 6, none for 1.
#[inline(always)]
fn along_y<S: Simd, const POINTS: usize>(s: Isa<S>, column: [S::Vector; POINTS]) -> [S::Vector; POINTS] {
    let mut points = column;
    let values = &column[..];
    if POINTS == 4 {
        points.copy_from_slice(&input2(s, array!(|i| values[i])));
    } else if POINTS == 6 {
        points.copy_from_slice(&input4(s, array!(|i| values[i])));
    }
    points
}

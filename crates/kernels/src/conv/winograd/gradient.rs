//! The transforms of the weight gradient that are not those of the forward pass: output gradients to `E[point][position][width]`,
//! and sums in the transform domain to gradients of taps.

#![allow(unsafe_code)]

use super::transform::{gradient2, gradient4, weight_gradient2, weight_gradient4};
use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

/// One plane of one block of the output's gradient, and where its tiles go.
#[derive(Clone, Copy)]
pub(super) struct GradientPlane {
    /// The plane's first value.
    pub(super) data: *const f32,
    /// Rows.
    pub(super) height: usize,
    /// Voxels in a row.
    pub(super) width: usize,
    /// First row of the first tile.
    pub(super) first_row: usize,
    /// Rows of tiles.
    pub(super) rows: usize,
    /// E at the first point and position, first channel of the block.
    pub(super) output: *mut f32,
    /// Values from one position to the next.
    pub(super) position_stride: usize,
    /// Values from one point to the next.
    pub(super) point_stride: usize,
}

/// Transforms the tiles of a plane; voxels outside of the image count as zero.
///
/// # Safety
/// The pointers are valid for what the sizes and strides describe, and nobody else uses the output.
#[inline(always)]
pub(super) unsafe fn transform_gradient<S: Simd, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    plane: &GradientPlane,
) {
    let columns = plane.width.div_ceil(4);
    for lane in (0..LANES).step_by(S::LANES) {
        for row in 0..plane.rows {
            for column in 0..columns {
                let mut lines = [[s.zero(); 6]; ROWS];
                for (line, values) in lines.iter_mut().enumerate() {
                    let y = plane.first_row + row * ROWS + line;
                    if y >= plane.height {
                        continue;
                    }
                    let inside = (plane.width - column * 4).min(4);
                    let mut voxels = [s.zero(); 4];
                    // SAFETY: the row and the columns lie in the plane.
                    unsafe {
                        let start = plane.data.add((y * plane.width + column * 4) * LANES + lane);
                        if inside == 4 {
                            voxels = array!(|x| s.load(start.add(x * LANES)));
                        } else {
                            for (x, voxel) in voxels.iter_mut().enumerate().take(inside) {
                                *voxel = s.load(start.add(x * LANES));
                            }
                        }
                    }
                    *values = gradient4(s, voxels);
                }
                let columns_of: [[S::Vector; ROWS]; 6] = array!(|x| array!(|y| lines[y][x]));
                // SAFETY: the tile and all points lie in the output.
                unsafe {
                    let tile = plane.output.add((row * columns + column) * plane.position_stride + lane);
                    for (x, column) in columns_of.into_iter().enumerate() {
                        for (y, point) in along_y::<S, ROWS, POINTS>(s, column).into_iter().enumerate() {
                            s.store(tile.add((y * 6 + x) * plane.point_stride), point);
                        }
                    }
                }
            }
        }
    }
}

/// The transform along y: that of F(2, 3) for 4 points, of F(4, 3) for 6, none for 1.
#[inline(always)]
fn along_y<S: Simd, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    column: [S::Vector; ROWS],
) -> [S::Vector; POINTS] {
    let values = &column[..];
    if POINTS == 4 {
        let points = gradient2(s, array!(|i| values[i]));
        array!(|i| points[i])
    } else if POINTS == 6 {
        let points = gradient4(s, array!(|i| values[i]));
        array!(|i| points[i])
    } else {
        [values[0]; POINTS]
    }
}

/// Transforms sums `[point][tap][16][width]` of one pair of blocks to gradients `[z][y][x][16][width]`; there are `taps` taps per point,
/// of which the first `taps_z` (times 3, if `POINTS` is 1) are read.
///
/// # Safety
/// `sums` is valid for all points and taps, `output` for `taps_z * 9`.
#[inline(always)]
pub(super) unsafe fn transform_sums<S: Simd, const POINTS: usize>(
    s: Isa<S>,
    sums: *const f32,
    taps: usize,
    taps_z: usize,
    width: usize,
    output: *mut f32,
) {
    let tap = LANES * width;
    for z in 0..taps_z {
        for at in (0..tap).step_by(S::LANES) {
            // SAFETY: point and tap lie in the sums, the nine taps in the output.
            unsafe {
                // Values from one row of points to the next, and from one tap along y to the next.
                let (row, tap_y) = (6 * taps * tap, tap);
                // Along y first: [x][y].
                let columns: [[S::Vector; 3]; 6] = array!(|x| {
                    if POINTS == 1 {
                        let first = sums.add((x * taps + z * 3) * tap + at);
                        array!(|y| s.load(first.add(y * tap_y)))
                    } else {
                        let first = sums.add((x * taps + z) * tap + at);
                        if POINTS == 4 {
                            weight_gradient2(s, array!(|y| s.load(first.add(y * row))))
                        } else {
                            weight_gradient4(s, array!(|y| s.load(first.add(y * row))))
                        }
                    }
                });
                let rows: [[S::Vector; 6]; 3] = array!(|y| array!(|x| columns[x][y]));
                for (y, row) in rows.into_iter().enumerate() {
                    for (x, value) in weight_gradient4(s, row).into_iter().enumerate() {
                        s.store(output.add((z * 9 + y * 3 + x) * tap + at), value);
                    }
                }
            }
        }
    }
}

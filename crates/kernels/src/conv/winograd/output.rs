//! The inverse transform: `M[point][position][width]` to rows of the output, bias added.

#![allow(unsafe_code)]

use crate::layout::LANES;
use crate::simd::{Isa, Simd, array};

use super::transform::{output2, output4};

/// One tile of the output of one block of 16 channels.
#[derive(Clone, Copy)]
pub(super) struct OutputTile {
    /// Its first voxel.
    pub(super) data: *mut f32,
    /// Values from one row to the next.
    pub(super) row_stride: usize,
    /// Rows that lie in the image, 1 to `ROWS`.
    pub(super) rows: usize,
    /// Columns that lie in the image, 1 to 4.
    pub(super) columns: usize,
    /// Add to what is there instead of replacing it.
    pub(super) accumulate: bool,
}

/// Transforms one tile back and writes the voxels that lie in the image.
///
/// # Safety
/// `products` is valid for 16 values at each of the points, `bias` for 16, `tile` for its voxels.
#[inline(always)]
pub(super) unsafe fn inverse_tile<S: Simd, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    products: *const f32,
    point_stride: usize,
    bias: *const f32,
    tile: &OutputTile,
) {
    for lane in (0..LANES).step_by(S::LANES) {
        // SAFETY: by the contract of this function.
        let (bias, lines) = unsafe {
            let mut lines = [[s.zero(); 6]; ROWS];
            for x in 0..6 {
                let column: [S::Vector; POINTS] =
                    array!(|y| s.load(products.add((y * 6 + x) * point_stride + lane)));
                let rows = along_y::<S, ROWS, POINTS>(s, column);
                for (line, value) in lines.iter_mut().zip(rows) {
                    line[x] = value;
                }
            }
            (s.load(bias.add(lane)), lines)
        };
        for (row, line) in lines.iter().enumerate().take(tile.rows) {
            let voxels = output4(s, *line);
            for (x, value) in voxels.iter().enumerate().take(tile.columns) {
                // SAFETY: the row and the column lie in the image.
                unsafe {
                    let target = tile.data.add(row * tile.row_stride + x * LANES + lane);
                    let base = if tile.accumulate { s.add(bias, s.load(target)) } else { bias };
                    s.store(target, s.add(base, *value));
                }
            }
        }
    }
}

/// The inverse along y: F(2, 3) for 4 points, F(4, 3) for 6, none for 1.
#[inline(always)]
fn along_y<S: Simd, const ROWS: usize, const POINTS: usize>(
    s: Isa<S>,
    column: [S::Vector; POINTS],
) -> [S::Vector; ROWS] {
    let values = &column[..];
    if POINTS == 4 {
        let rows = output2(s, array!(|i| values[i]));
        array!(|i| rows[i])
    } else if POINTS == 6 {
        let rows = output4(s, array!(|i| values[i]));
        array!(|i| rows[i])
    } else {
        [values[0]; ROWS]
    }
}

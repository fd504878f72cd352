//! Where the voxels of a patch lie in a padded crop. Coordinates in f32, in the reference's order of operations. Axis order
//! (z, y, x).

use super::affine::Affine;
use super::elastic::Displacement;
use super::resample::Sampling;

/// Positions in the padded crop of one row of the patch.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Index of the corner with the smallest coordinates.
    pub(super) offset: Vec<u32>,
    /// Distance from that corner along (z, y, x), in [0, 1].
    pub(super) fraction: [Vec<f32>; 3],
    /// Bit d: the corner's index in the crop along axis d is odd.
    pub(super) odd: Vec<u8>,
}

pub(super) struct Grid {
    matrix: [[f32; 3]; 3],
    shift: [f32; 3],
    /// First axis that is interpolated.
    pub(super) first: usize,
    shape: [usize; 3],
    patch: [usize; 3],
    /// Voxels of padding before the crop.
    pub(super) before: [usize; 3],
    /// First index of the padded crop that the patch may read, and the number of those that it may.
    pub(super) start: [usize; 3],
    pub(super) kept: [usize; 3],
    pub(super) strides: [usize; 3],
}

impl Grid {
    /// The places of a patch of `patch` voxels in a crop of `shape`.
    pub(super) fn new(sampling: &Sampling, shape: [usize; 3], patch: [usize; 3]) -> Self {
        let (matrix, first) = match sampling.affine {
            Affine::Volume(m) => (m.map(|row| row.map(|v| v as f32)), 0),
            Affine::Slices(m) => {
                let m = m.map(|row| row.map(|v| v as f32));
                ([[1.0, 0.0, 0.0], [0.0, m[0][0], m[0][1]], [0.0, m[1][0], m[1][1]]], 1)
            }
        };
        let mut shift = sampling.shift;
        if let Some(displacement) = &sampling.displacement
            && displacement.centred
        {
            // The displaced patch as a whole stays where it is: the mean of A (v + u) is A's of the mean of u.
            let mean = displacement.mean();
            for d in first..3 {
                shift[d] -= (first..3).map(|k| matrix[d][k] * mean[k]).sum::<f32>();
            }
        }
        let farthest = sampling.displacement.as_ref().map_or([0.0; 3], Displacement::largest);
        let (mut start, mut kept) = ([0; 3], shape);
        for d in first..3 {
            let half: f64 = (first..3)
                .map(|k| f64::from(matrix[d][k].abs()) * ((patch[k] as f64 - 1.0) / 2.0 + farthest[k]))
                .sum();
            let (size, middle) = (shape[d] as f64, f64::from(shift[d]) + (shape[d] as f64 - 1.0) / 2.0);
            // One voxel more on either side, for what f32 rounds.
            start[d] = (middle - half).clamp(-1.0, size).floor().max(0.0) as usize;
            let last = (middle + half).clamp(-1.0, size).floor() as isize + 3;
            kept[d] = last.min(shape[d] as isize + 2) as usize + 1 - start[d];
        }
        Self {
            matrix,
            shift,
            first,
            shape,
            patch,
            before: std::array::from_fn(|d| usize::from(d >= first)),
            start,
            kept,
            strides: [kept[1] * kept[2], kept[2], 1],
        }
    }

    /// Locates the voxels (z, y, 0..) of the patch.
    pub(super) fn locate_row(&self, z: usize, y: usize, row: &mut Row) {
        let width = self.patch[2];
        let centred = |d: usize, i: usize| (1.0 - self.patch[d] as f32) / 2.0 + i as f32;
        let start = if self.first == 0 { 0 } else { z * self.strides[0] };
        row.offset.clear();
        row.offset.resize(width, start as u32);
        row.odd.clear();
        row.odd.resize(width, 0);
        for d in self.first..3 {
            let m = self.matrix[d];
            let across = if self.first == 0 { m[0] * centred(0, z) } else { 0.0 } + m[1] * centred(1, y);
            let size = self.shape[d] as f32;
            let half = size / 2.0;
            let shift = self.shift[d];
            let (start, stride) = (self.start[d] as u32, self.strides[d] as u32);
            row.fraction[d].resize(width, 0.0);
            let fractions = row.fraction[d][..width].iter_mut();
            let cells = fractions.zip(&mut row.offset).zip(&mut row.odd);
            for (x, ((fraction, offset), odd)) in cells.enumerate() {
                let position = across + m[2] * centred(2, x) + shift;
                let (padded_index, rest) = corner(position, half, size);
                *fraction = rest;
                *offset += (padded_index - start) * stride;
                *odd |= ((padded_index & 1 ^ 1) as u8) << d;
            }
        }
    }

    /// Locates the voxels (z, y, 0..) of the patch, displaced.
    pub(super) fn locate_displaced_row(
        &self,
        z: usize,
        y: usize,
        displacement: &Displacement,
        row: &mut Row,
    ) {
        let width = self.patch[2];
        let centred = |d: usize, i: usize| (1.0 - self.patch[d] as f32) / 2.0 + i as f32;
        row.offset.clear();
        row.offset.resize(width, if self.first == 0 { 0 } else { (z * self.strides[0]) as u32 });
        row.odd.clear();
        row.odd.resize(width, 0);
        row.fraction.iter_mut().for_each(|fraction| fraction.resize(width, 0.0));
        for x in 0..width {
            let moved = displacement.at(z, y, x);
            let at = [centred(0, z) + moved[0], centred(1, y) + moved[1], centred(2, x) + moved[2]];
            for d in self.first..3 {
                let m = self.matrix[d];
                let position = (self.first..3).map(|k| m[k] * at[k]).sum::<f32>() + self.shift[d];
                let size = self.shape[d] as f32;
                let (padded_index, rest) = corner(position, size / 2.0, size);
                row.fraction[d][x] = rest;
                row.offset[x] += (padded_index - self.start[d] as u32) * self.strides[d] as u32;
                row.odd[x] |= ((padded_index & 1 ^ 1) as u8) << d;
            }
        }
    }
}

/// The padded index below `position`, which is relative to the centre of an axis of `size` voxels, and the distance from
/// it. `half` is size / 2.
#[inline(always)]
fn corner(position: f32, half: f32, size: f32) -> (u32, f32) {
    let index = ((position / half + 1.0) * size - 1.0) / 2.0;
    let index = index.max(-1.0).min(size);
    let padded_index = (index + 1.0) as u32;
    (padded_index, index - (padded_index as f32 - 1.0))
}

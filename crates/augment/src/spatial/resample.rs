//! A crop resampled onto a patch that is displaced, rotated, scaled and shifted.
//!
//! Output voxel v (relative to the patch centre) reads the input at A (v + u(v)) + c (relative to the crop centre), with
//! A = Rz Ry Rx S for volumes and R S within slices, the displacement u and the shift c; factors above one make objects
//! smaller. Images: linear interpolation, 0 outside. Segmentations: every label's indicator is
//! interpolated linearly, scaled by 1000 and rounded to half precision, and the largest wins; -1
//! takes part as the label of the outside. Ties go to the nearest voxel's label if it is among the
//! tied, else to the smallest label. Either may take the nearest voxel instead. Axis order (z, y, x).
//!
//! Coordinates are computed in f32 in the reference's order of operations. Images agree with the
//! reference to 1e-5 of the intensity range, segmentations exactly but for rounding of exact ties.

use half::f16;
use nnunet_volume::ChannelVolume;

use super::affine::Affine;
use super::elastic::Displacement;
use super::grid::{Grid, Row};

/// Label of voxels outside of the crop.
pub const OUTSIDE_LABEL: i16 = -1;

/// Buffers that [`resample`] reuses from sample to sample.
#[derive(Debug, Default)]
pub struct SpatialScratch {
    image: Vec<f32>,
    labels: Vec<i16>,
    row: Row,
}

/// How values between voxels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Linear for images, the label with the largest linear share for segmentations.
    Linear,
    /// The nearest voxel; halves go to the even index.
    Nearest,
}

/// Where the voxels of a patch are read, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Rotation and scaling.
    pub affine: Affine,
    /// Displacement of every voxel before rotation and scaling.
    pub displacement: Option<Displacement>,
    /// Shift (z, y, x) in voxels of the crop after them.
    pub shift: [f32; 3],
    /// For the image.
    pub image: Interpolation,
    /// For the segmentation.
    pub segmentation: Interpolation,
}

impl Sampling {
    /// Rotation and scaling only, linear.
    pub fn affine(affine: Affine) -> Self {
        let (image, segmentation) = (Interpolation::Linear, Interpolation::Linear);
        Self { affine, displacement: None, shift: [0.0; 3], image, segmentation }
    }
}

/// Rotates and scales a crop onto a patch, linearly; see [`resample_with`].
pub fn resample(
    image: &ChannelVolume<f32>,
    segmentation: &ChannelVolume<i16>,
    affine: &Affine,
    patch: [usize; 3],
    scratch: &mut SpatialScratch,
) -> (ChannelVolume<f32>, ChannelVolume<i16>) {
    resample_with(image, segmentation, &Sampling::affine(*affine), patch, scratch)
}

/// Resamples a crop (image and segmentation of one shape) onto a patch of `patch` (z, y, x) voxels.
/// With [`Affine::Slices`] the crop and the patch must have the same number of slices.
pub fn resample_with(
    image: &ChannelVolume<f32>,
    segmentation: &ChannelVolume<i16>,
    sampling: &Sampling,
    patch: [usize; 3],
    scratch: &mut SpatialScratch,
) -> (ChannelVolume<f32>, ChannelVolume<i16>) {
    let shape = image.shape();
    let grid = Grid::new(sampling, shape, patch);
    let padded_len: usize = grid.kept.iter().product();
    pad_into(image, &grid, 0.0, &mut scratch.image);
    pad_into(segmentation, &grid, OUTSIDE_LABEL, &mut scratch.labels);
    let mut patch_image = ChannelVolume::filled(image.channels(), patch, 0.0f32);
    let mut patch_labels = ChannelVolume::filled(segmentation.channels(), patch, OUTSIDE_LABEL);
    let strides = grid.strides;
    for z in 0..patch[0] {
        for y in 0..patch[1] {
            match &sampling.displacement {
                None => grid.locate_row(z, y, &mut scratch.row),
                Some(displacement) => grid.locate_displaced_row(z, y, displacement, &mut scratch.row),
            }
            let row = &scratch.row;
            let span = (z * patch[1] + y) * patch[2]..(z * patch[1] + y + 1) * patch[2];
            for (c, source) in scratch.image.chunks_exact(padded_len).enumerate() {
                let target = &mut patch_image.channel_mut(c)[span.clone()];
                match (sampling.image, grid.first) {
                    (Interpolation::Nearest, first) => take_nearest(source, strides, first, row, target),
                    (Interpolation::Linear, 0) => interpolate_volume(source, strides, row, target),
                    (Interpolation::Linear, _) => interpolate_slice(source, strides, row, target),
                }
            }
            for (c, source) in scratch.labels.chunks_exact(padded_len).enumerate() {
                let target = &mut patch_labels.channel_mut(c)[span.clone()];
                match (sampling.segmentation, grid.first) {
                    (Interpolation::Nearest, first) => take_nearest(source, strides, first, row, target),
                    (Interpolation::Linear, 0) => vote_volume(source, strides, row, target),
                    (Interpolation::Linear, _) => vote_slice(source, strides, row, target),
                }
            }
        }
    }
    (patch_image, patch_labels)
}

/// Copies the part of every channel that the patch may read. The crop is padded with one voxel of `outside` before and
/// two after each sampled axis: clamped coordinates then read the outside there, without a test per voxel.
fn pad_into<T: Copy>(volume: &ChannelVolume<T>, grid: &Grid, outside: T, padded: &mut Vec<T>) {
    let (shape, kept) = (volume.shape(), grid.kept);
    let len: usize = kept.iter().product();
    padded.resize(len * volume.channels(), outside);
    // The place in the crop of a place in the kept part, where it is inside.
    let inside =
        |d: usize, i: usize| (grid.start[d] + i).checked_sub(grid.before[d]).filter(|i| *i < shape[d]);
    let row_start = grid.start[2].saturating_sub(grid.before[2]).min(shape[2]);
    let left = grid.before[2].saturating_sub(grid.start[2]).min(kept[2]);
    let width = (shape[2] - row_start).min(kept[2] - left);
    for (c, target) in padded.chunks_exact_mut(len.max(1)).enumerate() {
        let channel = volume.channel(c);
        for (i, row) in target.chunks_exact_mut(kept[2]).enumerate() {
            match (inside(0, i / kept[1]), inside(1, i % kept[1])) {
                (Some(z), Some(y)) => {
                    let source = (z * shape[1] + y) * shape[2] + row_start;
                    row[..left].fill(outside);
                    row[left..left + width].copy_from_slice(&channel[source..source + width]);
                    row[left + width..].fill(outside);
                }
                _ => row.fill(outside),
            }
        }
    }
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + weight * (b - a)
}

fn interpolate_volume(source: &[f32], strides: [usize; 3], row: &Row, target: &mut [f32]) {
    let [sz, sy, _] = strides;
    let span = sz + sy + 2;
    let [fz, fy, fx] = &row.fraction;
    for (i, value) in target.iter_mut().enumerate() {
        let offset = row.offset[i] as usize;
        let s = &source[offset..offset + span];
        let wx = fx[i];
        let near = mix(mix(s[0], s[1], wx), mix(s[sy], s[sy + 1], wx), fy[i]);
        let far = mix(mix(s[sz], s[sz + 1], wx), mix(s[sz + sy], s[sz + sy + 1], wx), fy[i]);
        *value = mix(near, far, fz[i]);
    }
}

fn interpolate_slice(source: &[f32], strides: [usize; 3], row: &Row, target: &mut [f32]) {
    let sy = strides[1];
    let [_, fy, fx] = &row.fraction;
    for (i, value) in target.iter_mut().enumerate() {
        let offset = row.offset[i] as usize;
        let s = &source[offset..offset + sy + 2];
        *value = mix(mix(s[0], s[1], fx[i]), mix(s[sy], s[sy + 1], fx[i]), fy[i]);
    }
}

fn take_nearest<T: Copy>(source: &[T], strides: [usize; 3], first: usize, row: &Row, target: &mut [T]) {
    for (i, value) in target.iter_mut().enumerate() {
        let up = (first..3).map(|d| {
            let upper = nearest_is_upper(row.fraction[d][i], (row.odd[i] >> d) & 1 == 1);
            usize::from(upper) * strides[d]
        });
        *value = source[row.offset[i] as usize + up.sum::<usize>()];
    }
}

fn vote_volume(source: &[i16], strides: [usize; 3], row: &Row, target: &mut [i16]) {
    let [sz, sy, _] = strides;
    let span = sz + sy + 2;
    let [fz, fy, fx] = &row.fraction;
    for (i, label) in target.iter_mut().enumerate() {
        let offset = row.offset[i] as usize;
        let s = &source[offset..offset + span];
        let corners = [s[0], s[1], s[sy], s[sy + 1], s[sz], s[sz + 1], s[sz + sy], s[sz + sy + 1]];
        let first = corners[0];
        *label = if corners.iter().fold(0, |mixed, c| mixed | (c ^ first)) == 0 {
            first
        } else {
            let weights: [f32; 8] =
                std::array::from_fn(|k| side(fx[i], k & 1) * side(fy[i], (k >> 1) & 1) * side(fz[i], k >> 2));
            let up = |d: usize, f: f32| usize::from(nearest_is_upper(f, (row.odd[i] >> d) & 1 == 1));
            let nearest = up(0, fz[i]) * 4 + up(1, fy[i]) * 2 + up(2, fx[i]);
            vote(corners, weights, nearest)
        };
    }
}

fn vote_slice(source: &[i16], strides: [usize; 3], row: &Row, target: &mut [i16]) {
    let sy = strides[1];
    let [_, fy, fx] = &row.fraction;
    for (i, label) in target.iter_mut().enumerate() {
        let offset = row.offset[i] as usize;
        let s = &source[offset..offset + sy + 2];
        let corners = [s[0], s[1], s[sy], s[sy + 1]];
        let first = corners[0];
        *label = if corners.iter().fold(0, |mixed, c| mixed | (c ^ first)) == 0 {
            first
        } else {
            let weights: [f32; 4] = std::array::from_fn(|k| side(fx[i], k & 1) * side(fy[i], k >> 1));
            let up = |d: usize, f: f32| usize::from(nearest_is_upper(f, (row.odd[i] >> d) & 1 == 1));
            vote(corners, weights, up(1, fy[i]) * 2 + up(2, fx[i]))
        };
    }
}

/// Weight of the lower (0) or upper (1) neighbour.
fn side(fraction: f32, upper: usize) -> f32 {
    if upper == 1 { fraction } else { 1.0 - fraction }
}

/// Whether rounding (halves to even) goes to the upper neighbour of an index with this fraction.
fn nearest_is_upper(fraction: f32, lower_is_odd: bool) -> bool {
    fraction > 0.5 || (fraction == 0.5 && lower_is_odd)
}

/// The label with the largest interpolated indicator; `nearest` is the corner that settles ties.
fn vote<const N: usize>(corners: [i16; N], weights: [f32; N], nearest: usize) -> i16 {
    let score = |label: i16| {
        let mut sum = 0.0f32;
        for (corner, weight) in corners.iter().zip(&weights) {
            if *corner == label {
                sum += 1000.0 * weight;
            }
        }
        f16::from_f32(sum).to_f32()
    };
    let mut best = corners[nearest];
    let mut best_score = score(best);
    let mut beaten = false;
    for (k, &label) in corners.iter().enumerate() {
        if corners[..k].contains(&label) || label == corners[nearest] {
            continue;
        }
        let score = score(label);
        // The nearest voxel's label keeps a tie; among the others the smallest label does.
        if score > best_score || (beaten && score == best_score && label < best) {
            (best, best_score, beaten) = (label, score, true);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::affine::{slice_matrix, volume_matrix};
    use super::*;

    #[test]
    fn ties_go_to_the_nearest_label_then_to_the_smallest() {
        assert_eq!(vote([1, 2, 1, 2], [0.25; 4], 1), 2);
        assert_eq!(vote([1, 2, 1, 2], [0.25; 4], 2), 1);
        assert_eq!(vote([3, 5, 2, 5], [0.4, 0.1, 0.4, 0.1], 1), 2);
        // Differences below the spacing of half precision are ties.
        assert_eq!(vote([1, 2, 1, 2], [0.25, 0.25002, 0.25, 0.25], 0), 1);
    }

    #[test]
    fn patches_far_outside_of_the_crop_read_nothing() {
        let image = ChannelVolume::filled(1, [4, 5, 6], 7.0f32);
        let labels = ChannelVolume::filled(1, [4, 5, 6], 2i16);
        for shift in [[90.0, 0.0, 0.0], [0.0, -90.0, 0.0], [0.0, 0.0, 90.0], [-7.0, 9.0, 0.0]] {
            let affine = Affine::Volume(volume_matrix([0.2, 0.1, 0.3], [1.0; 3]));
            let sampling = Sampling { shift, ..Sampling::affine(affine) };
            let scratch = &mut SpatialScratch::default();
            let (patch, patch_labels) = resample_with(&image, &labels, &sampling, [3, 3, 3], scratch);
            assert!(patch.data().iter().all(|v| *v == 0.0));
            assert!(patch_labels.data().iter().all(|v| *v == OUTSIDE_LABEL));
        }
    }

    #[test]
    fn a_quarter_turn_moves_voxels_exactly() {
        let n = 6;
        let image = ChannelVolume::new(1, [1, n, n], (0..n * n).map(|v| v as f32).collect()).unwrap();
        let labels = ChannelVolume::new(1, [1, n, n], (0..(n * n) as i16).collect()).unwrap();
        let affine = Affine::Slices(slice_matrix(std::f64::consts::FRAC_PI_2, [1.0; 2]));
        let (turned, turned_labels) =
            resample(&image, &labels, &affine, [1, n, n], &mut SpatialScratch::default());
        for y in 0..n {
            for x in 0..n {
                // (y, x) relative to the centre reads (-x, y).
                let from = (n - 1 - x) * n + y;
                assert!((turned.data()[y * n + x] - from as f32).abs() < 1e-4);
                assert_eq!(turned_labels.data()[y * n + x], from as i16);
            }
        }
    }

    #[test]
    fn the_outside_is_zero_and_unlabelled() {
        let image = ChannelVolume::filled(1, [4, 4, 4], 7.0f32);
        let labels = ChannelVolume::filled(1, [4, 4, 4], 2i16);
        let affine = Affine::Volume(volume_matrix([0.0; 3], [1.0; 3]));
        let (patch, patch_labels) =
            resample(&image, &labels, &affine, [8, 4, 4], &mut SpatialScratch::default());
        assert_eq!((patch.data()[0], patch_labels.data()[0]), (0.0, OUTSIDE_LABEL));
        assert!(patch.data()[2 * 16..6 * 16].iter().all(|v| (v - 7.0).abs() < 1e-5));
        assert!(patch_labels.data()[2 * 16..6 * 16].iter().all(|v| *v == 2));
    }
}

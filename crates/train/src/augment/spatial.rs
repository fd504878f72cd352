//! Rotation and scaling of image and segmentation about the centre of a crop, resampled onto a patch.
//!
//! Output voxel v (relative to the patch centre) reads the input at A v (relative to the crop
//! centre), with A = Rz Ry Rx S for volumes and R S within slices; factors above one make objects
//! smaller. Images: linear interpolation, 0 outside. Segmentations: every label's indicator is
//! interpolated linearly, scaled by 1000 and rounded to half precision, and the largest wins; -1
//! takes part as the label of the outside. Ties go to the nearest voxel's label if it is among the
//! tied, else to the smallest label. Axis order (z, y, x); angles in radians.
//!
//! Coordinates are computed in f32 in the reference's order of operations. Images agree with the
//! reference to 1e-5 of the intensity range, segmentations exactly but for rounding of exact ties.

use super::random::{UniformRange, happens};
use half::f16;
use nnunet_volume::ChannelVolume;
use rand::Rng;

/// Label of voxels outside of the crop.
pub const OUTSIDE_LABEL: i16 = -1;

/// Whether patches are rotated in space or slice by slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpatialMode {
    /// All three axes.
    Volume,
    /// The last two axes, the same for every slice of a patch.
    Slices,
}

/// How often and how far patches are rotated and scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct SpatialPolicy {
    /// In space or slice by slice.
    pub mode: SpatialMode,
    /// Probability of rotating a sample.
    pub rotation_probability: f64,
    /// Angle in radians, drawn for each axis.
    pub rotation: UniformRange,
    /// Probability of scaling a sample.
    pub scaling_probability: f64,
    /// Factor of the sampling grid, one for all axes.
    pub scaling: UniformRange,
}

/// The linear map from patch coordinates to crop coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Affine {
    /// Of (z, y, x).
    Volume([[f64; 3]; 3]),
    /// Of (y, x), the same in every slice.
    Slices([[f64; 2]; 2]),
}

impl SpatialPolicy {
    /// The map for one sample; `None` for a plain crop without interpolation.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<Affine> {
        let rotate = happens(self.rotation_probability, rng);
        let scale = happens(self.scaling_probability, rng);
        if !rotate && !scale {
            return None;
        }
        let mut angle = || if rotate { self.rotation.sample(rng) } else { 0.0 };
        match self.mode {
            SpatialMode::Volume => {
                let angles = [angle(), angle(), angle()];
                let factor = if scale { self.scaling.sample(rng) } else { 1.0 };
                Some(Affine::Volume(volume_matrix(angles, [factor; 3])))
            }
            SpatialMode::Slices => {
                let angle = angle();
                let factor = if scale { self.scaling.sample(rng) } else { 1.0 };
                Some(Affine::Slices(slice_matrix(angle, [factor; 2])))
            }
        }
    }
}

/// Rz Ry Rx S for `angles` about the axes (first, second, third) in radians and `factors` per axis.
pub fn volume_matrix(angles: [f64; 3], factors: [f64; 3]) -> [[f64; 3]; 3] {
    let [(sa, ca), (sb, cb), (sc, cc)] = angles.map(f64::sin_cos);
    let first = [[1.0, 0.0, 0.0], [0.0, ca, -sa], [0.0, sa, ca]];
    let second = [[cb, 0.0, sb], [0.0, 1.0, 0.0], [-sb, 0.0, cb]];
    let third = [[cc, -sc, 0.0], [sc, cc, 0.0], [0.0, 0.0, 1.0]];
    let rotation = product(product(third, second), first);
    rotation.map(|row| std::array::from_fn(|d| row[d] * factors[d]))
}

/// R S for `angle` in radians and `factors` per axis.
pub fn slice_matrix(angle: f64, factors: [f64; 2]) -> [[f64; 2]; 2] {
    let (sine, cosine) = angle.sin_cos();
    [[cosine * factors[0], -sine * factors[1]], [sine * factors[0], cosine * factors[1]]]
}

fn product(a: [[f64; 3]; 3], b: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Buffers that [`resample`] reuses from sample to sample.
#[derive(Debug, Default)]
pub struct SpatialScratch {
    image: Vec<f32>,
    labels: Vec<i16>,
    row: Row,
}

/// Resamples a crop (image and segmentation of one shape) onto a patch of `patch` (z, y, x) voxels.
/// With [`Affine::Slices`] the crop and the patch must have the same number of slices.
pub fn resample(
    image: &ChannelVolume<f32>,
    segmentation: &ChannelVolume<i16>,
    affine: &Affine,
    patch: [usize; 3],
    scratch: &mut SpatialScratch,
) -> (ChannelVolume<f32>, ChannelVolume<i16>) {
    let shape = image.shape();
    let grid = Grid::new(affine, shape, patch);
    let padded = grid.padded;
    let padded_len: usize = padded.iter().product();
    pad_into(image, &grid, 0.0, &mut scratch.image);
    pad_into(segmentation, &grid, OUTSIDE_LABEL, &mut scratch.labels);
    let mut patch_image = ChannelVolume::filled(image.channels(), patch, 0.0f32);
    let mut patch_labels = ChannelVolume::filled(segmentation.channels(), patch, OUTSIDE_LABEL);
    let strides = grid.strides;
    for z in 0..patch[0] {
        for y in 0..patch[1] {
            grid.locate_row(z, y, &mut scratch.row);
            let row = &scratch.row;
            let span = (z * patch[1] + y) * patch[2]..(z * patch[1] + y + 1) * patch[2];
            for (c, source) in scratch.image.chunks_exact(padded_len).enumerate() {
                let target = &mut patch_image.channel_mut(c)[span.clone()];
                match affine {
                    Affine::Volume(_) => interpolate_volume(source, strides, row, target),
                    Affine::Slices(_) => interpolate_slice(source, strides, row, target),
                }
            }
            for (c, source) in scratch.labels.chunks_exact(padded_len).enumerate() {
                let target = &mut patch_labels.channel_mut(c)[span.clone()];
                match affine {
                    Affine::Volume(_) => vote_volume(source, strides, row, target),
                    Affine::Slices(_) => vote_slice(source, strides, row, target),
                }
            }
        }
    }
    (patch_image, patch_labels)
}

/// Copies every channel with one voxel of `outside` before and two after each sampled axis: clamped
/// coordinates then read the outside there, without a test per voxel.
fn pad_into<T: Copy>(volume: &ChannelVolume<T>, grid: &Grid, outside: T, padded: &mut Vec<T>) {
    let len: usize = grid.padded.iter().product();
    padded.clear();
    padded.resize(len * volume.channels(), outside);
    let start = grid.before.map(|b| -(b as isize));
    for (c, target) in padded.chunks_exact_mut(len.max(1)).enumerate() {
        super::crop::copy_box(volume.channel(c), volume.shape(), start, target, grid.padded);
    }
}

/// Positions in the padded crop of one row of the patch.
#[derive(Debug, Default)]
struct Row {
    /// Index of the corner with the smallest coordinates.
    offset: Vec<u32>,
    /// Distance from that corner along (z, y, x), in [0, 1].
    fraction: [Vec<f32>; 3],
    /// Bit d: the corner's index in the crop along axis d is odd.
    odd: Vec<u8>,
}

struct Grid {
    matrix: [[f32; 3]; 3],
    /// First axis that is interpolated.
    first: usize,
    shape: [usize; 3],
    patch: [usize; 3],
    before: [usize; 3],
    padded: [usize; 3],
    strides: [usize; 3],
}

impl Grid {
    fn new(affine: &Affine, shape: [usize; 3], patch: [usize; 3]) -> Self {
        let (matrix, first) = match affine {
            Affine::Volume(m) => (m.map(|row| row.map(|v| v as f32)), 0),
            Affine::Slices(m) => {
                let m = m.map(|row| row.map(|v| v as f32));
                ([[1.0, 0.0, 0.0], [0.0, m[0][0], m[0][1]], [0.0, m[1][0], m[1][1]]], 1)
            }
        };
        let sampled = |d: usize| d >= first;
        let padded: [usize; 3] = std::array::from_fn(|d| shape[d] + if sampled(d) { 3 } else { 0 });
        Self {
            matrix,
            first,
            shape,
            patch,
            before: std::array::from_fn(|d| usize::from(sampled(d))),
            padded,
            strides: [padded[1] * padded[2], padded[2], 1],
        }
    }

    /// Locates the voxels (z, y, 0..) of the patch.
    fn locate_row(&self, z: usize, y: usize, row: &mut Row) {
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
            let stride = self.strides[d] as u32;
            row.fraction[d].resize(width, 0.0);
            let fractions = row.fraction[d][..width].iter_mut();
            let cells = fractions.zip(&mut row.offset).zip(&mut row.odd);
            for (x, ((fraction, offset), odd)) in cells.enumerate() {
                let position = across + m[2] * centred(2, x);
                let index = ((position / half + 1.0) * size - 1.0) / 2.0;
                let index = index.max(-1.0).min(size);
                let padded_index = (index + 1.0) as u32;
                *fraction = index - (padded_index as f32 - 1.0);
                *offset += padded_index * stride;
                *odd |= ((padded_index & 1 ^ 1) as u8) << d;
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

//! NIfTI with nibabel's conventions, for datasets that name NibabelIO or NibabelIOWithReorient as their reader.
//!
//! The difference to SimpleITK's reading is the geometry: an affine (index (x, y, z) to RAS in mm), the sform if it is
//! set, else the qform, else the volume's centre at the origin with x mirrored; units and skew are not looked at.
//! Spacing is `pixdim` as it stands. The reader "with reorient" turns the axes so that they run to right, anterior and
//! superior; there the spacing is that of the turned affine in f32. Voxels that are NaN or infinite stay, with a
//! warning.

use std::path::Path;

use super::forms;
use super::header::Header;
use super::reader::{Described, Source, voxels};
use super::writer::write_with_header;
use crate::image::NiftiForm;
use crate::labels::StoredLabels;
use crate::voxels::StoredVoxel;
use crate::{ImageWarning, VoxelType};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, SpacingMm, Volume};

/// Index (x, y, z, 1) to position (right, anterior, superior, 1) in mm, row-major.
pub type Affine = [[f64; 4]; 4];

/// An image with nibabel's geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct NibabelImage {
    /// Voxels (z, y, x).
    pub volume: Volume<f32>,
    /// Spacing (z, y, x) in mm.
    pub spacing_zyx: SpacingMm,
    /// Affine of `volume`.
    pub affine: Affine,
    /// Affine of the file; differs from `affine` where the axes were turned.
    pub original_affine: Affine,
    /// Type of the voxels in the file.
    pub stored_type: VoxelType,
    /// What is unusual about the file.
    pub warnings: Vec<ImageWarning>,
}

/// Reads the image in `path`, its axes as they are.
///
/// # Errors
/// As [`super::read`]; a flat image, which nibabel's reader in nnU-Net does not take.
pub fn read(path: impl AsRef<Path>) -> Result<NibabelImage> {
    let path = path.as_ref();
    let mut source = Source::open(path)?;
    let (described, header) = describe(path, &mut source)?;
    let [x, y, z] = described.shape_xyz;
    let affine = best_affine(&header, [x, y, z]);
    // nibabel scales only by a finite slope that is not zero.
    let scaling = header.scaling().filter(|_| header.slope.is_finite() && header.slope != 0.0);
    let stored_type = described.voxel_type;
    let (volume, mut warnings) = voxels(path, &mut source, described, scaling, false)?;
    // ITK's opinion on skew and on the two forms does not matter here: nibabel takes the sform.
    warnings.retain(|w| {
        !matches!(w, ImageWarning::NonOrthonormalDirection { .. } | ImageWarning::FormsDisagree { .. })
    });
    warnings.extend(forms::disagreement_in(&header, NiftiForm::Sform));
    Ok(NibabelImage {
        volume,
        spacing_zyx: SpacingMm::new([header.pixdim[3], header.pixdim[2], header.pixdim[1]]),
        affine,
        original_affine: affine,
        stored_type,
        warnings,
    })
}

/// The header, with spacings as nibabel repairs them: the sign is dropped, zero becomes 1.
fn describe(path: &Path, source: &mut Source<'_>) -> Result<(Described, Header)> {
    let described = source.describe()?;
    if described.geometry.dimension == 2 {
        return Err(VolumeError::Unsupported {
            path: path.to_owned(),
            found: "a flat image".into(),
            expected: "three dimensions",
            advice: "Name SimpleITKIO as the dataset's reader.",
        });
    }
    let mut header = described.header.clone();
    for v in &mut header.pixdim[1..4] {
        *v = if *v == 0.0 { 1.0 } else { v.abs() };
    }
    Ok((described, header))
}

/// Reads only the header of `path`: shape (z, y, x) and spacing (z, y, x) in mm, as [`read`] gives them, or as
/// [`read_reoriented`] does if `reoriented`.
///
/// # Errors
/// As [`read`], except for what only the voxels can show.
pub fn read_shape_and_spacing(path: impl AsRef<Path>, reoriented: bool) -> Result<([usize; 3], SpacingMm)> {
    let path = path.as_ref();
    let (described, header) = describe(path, &mut Source::open(path)?)?;
    let [x, y, z] = described.shape_xyz;
    let affine = best_affine(&header, [x, y, z]);
    let turn = Turn::to_ras(&affine);
    if !reoriented || turn.is_identity() {
        return Ok(([z, y, x], SpacingMm::new([header.pixdim[3], header.pixdim[2], header.pixdim[1]])));
    }
    let mut shape = [0; 3];
    for (axis, length) in [x, y, z].into_iter().enumerate() {
        shape[2 - turn.to[axis]] = length;
    }
    Ok((shape, turned_spacing(&turn.affine(&affine, [x, y, z]))))
}

/// Reads the image in `path` and turns its axes to right, anterior, superior.
///
/// # Errors
/// As [`read`].
pub fn read_reoriented(path: impl AsRef<Path>) -> Result<NibabelImage> {
    let mut image = read(path)?;
    let turn = Turn::to_ras(&image.original_affine);
    if turn.is_identity() {
        return Ok(image);
    }
    let [z, y, x] = image.volume.shape();
    image.affine = turn.affine(&image.original_affine, [x, y, z]);
    image.volume = turn.apply(image.volume);
    image.spacing_zyx = turned_spacing(&image.affine);
    Ok(image)
}

/// Spacing (z, y, x) of a turned image: the lengths of the affine's columns, in f32.
fn turned_spacing(affine: &Affine) -> SpacingMm {
    SpacingMm::new([2, 1, 0].map(|axis| {
        let squares: f64 = (0..3).map(|row| affine[row][axis] * affine[row][axis]).sum();
        f64::from(squares.sqrt() as f32)
    }))
}

/// Writes a label image with `affine`, u8 if every label is below 255, else u16.
///
/// # Errors
/// As [`super::write_labels`].
pub fn write_labels<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    affine: &Affine,
) -> Result<()> {
    let path = path.as_ref();
    write_stored(path, &StoredLabels::new(path, labels)?, affine)
}

/// The same for labels in the type in which they are stored.
///
/// # Errors
/// As [`super::write()`].
pub fn write_stored(path: &Path, labels: &StoredLabels, affine: &Affine) -> Result<()> {
    match labels {
        StoredLabels::U8(labels) => write(path, labels, affine),
        StoredLabels::U16(labels) => write(path, labels, affine),
    }
}

/// Writes labels whose axes run to right, anterior, superior for an image that [`read_reoriented`] read: they are
/// turned back to the axes of `original_affine`.
///
/// # Errors
/// As [`write_labels`].
pub fn write_labels_reoriented<L: Copy + Into<u32>>(
    path: impl AsRef<Path>,
    labels: &Volume<L>,
    original_affine: &Affine,
) -> Result<()> {
    let path = path.as_ref();
    write_stored_reoriented(path, &StoredLabels::new(path, labels)?, original_affine)
}

/// The same for labels in the type in which they are stored.
///
/// # Errors
/// As [`write_stored`].
pub fn write_stored_reoriented(path: &Path, labels: &StoredLabels, original_affine: &Affine) -> Result<()> {
    let back = Turn::to_ras(original_affine).inverse();
    match labels {
        StoredLabels::U8(labels) => write(path, &back.apply(labels.clone()), original_affine),
        StoredLabels::U16(labels) => write(path, &back.apply(labels.clone()), original_affine),
    }
}

fn write<T: StoredVoxel>(path: &Path, volume: &Volume<T>, affine: &Affine) -> Result<()> {
    let length = |axis: usize| (0..3).map(|r| affine[r][axis] * affine[r][axis]).sum::<f64>().sqrt();
    let spacing = std::array::from_fn(length);
    write_with_header(path, volume, &Geometry::with_spacing(spacing), |header| {
        // As nibabel writes an affine: the sform alone, "aligned".
        header.pixdim = [1.0, spacing[0], spacing[1], spacing[2], 1.0, 1.0, 1.0, 1.0];
        header.qform_code = 0;
        header.sform_code = 2;
        header.quaternion = [0.0; 3];
        header.offset = [0.0; 3];
        header.units = 0;
        header.srow.copy_from_slice(&affine[..3]);
    })
}

fn best_affine(header: &Header, shape_xyz: [usize; 3]) -> Affine {
    let last = [0., 0., 0., 1.];
    let spacing: [f64; 3] = std::array::from_fn(|axis| header.pixdim[axis + 1]);
    if header.sform_code != 0 {
        return [header.srow[0], header.srow[1], header.srow[2], last];
    }
    if header.qform_code == 0 {
        let mut affine = [[0.0; 4], [0.0; 4], [0.0; 4], last];
        for axis in 0..3 {
            let step = if axis == 0 { -spacing[0] } else { spacing[axis] };
            affine[axis][axis] = step;
            affine[axis][3] = -(shape_xyz[axis] as f64 - 1.0) / 2.0 * step;
        }
        return affine;
    }
    let [x, y, z] = header.quaternion;
    // nibabel takes what f32 cannot tell from half a turn for half a turn.
    let w_squared = 1.0 - (x * x + y * y + z * z);
    let w = if w_squared < 3.0 * f64::from(f32::EPSILON) { 0.0 } else { w_squared.sqrt() };
    let s = 2.0 / (w * w + x * x + y * y + z * z);
    let rotation = [
        [1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)],
    ];
    let steps = [spacing[0], spacing[1], if header.pixdim[0] < 0.0 { -spacing[2] } else { spacing[2] }];
    let row = |r: usize| {
        let m = rotation[r];
        [m[0] * steps[0], m[1] * steps[1], m[2] * steps[2], header.offset[r]]
    };
    [row(0), row(1), row(2), last]
}

/// A permutation of the axes (x, y, z) with reversals: input axis i becomes output axis `to[i]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    to: [usize; 3],
    reversed: [bool; 3],
}

impl Turn {
    /// The turn that brings the axes of `affine` nearest to right, anterior, superior.
    fn to_ras(affine: &Affine) -> Self {
        let mut directions = nearest_rotation(affine);
        let mut turn = Self { to: [0; 3], reversed: [false; 3] };
        let largest =
            |m: &[[f64; 3]; 3], axis: usize| (0..3).map(|r| m[r][axis] * m[r][axis]).fold(0.0, f64::max);
        // The clearest axis chooses first.
        let mut order = [0, 1, 2];
        let clarity = [0, 1, 2].map(|axis| largest(&directions, axis));
        order.sort_by(|&a, &b| clarity[b].total_cmp(&clarity[a]));
        let mut free = [true; 3];
        for axis in order {
            let size = |row: usize| if free[row] { directions[row][axis].abs() } else { -1.0 };
            let best = (1..3).fold(0, |best, row| if size(row) > size(best) { row } else { best });
            turn.to[axis] = best;
            turn.reversed[axis] = directions[best][axis] < 0.0;
            free[best] = false;
            directions[best] = [0.0; 3];
        }
        turn
    }

    fn is_identity(&self) -> bool {
        self.to == [0, 1, 2] && self.reversed == [false; 3]
    }

    fn inverse(&self) -> Self {
        let mut inverse = *self;
        for axis in 0..3 {
            inverse.to[self.to[axis]] = axis;
            inverse.reversed[self.to[axis]] = self.reversed[axis];
        }
        inverse
    }

    /// Affine of the turned image from that of the input, which has `shape_xyz`.
    fn affine(&self, affine: &Affine, shape_xyz: [usize; 3]) -> Affine {
        let mut out = *affine;
        for axis in 0..3 {
            let sign = if self.reversed[axis] { -1.0 } else { 1.0 };
            for row in 0..3 {
                out[row][self.to[axis]] = sign * affine[row][axis];
                if self.reversed[axis] {
                    out[row][3] += affine[row][axis] * (shape_xyz[axis] as f64 - 1.0);
                }
            }
        }
        out
    }

    fn apply<T: Copy>(&self, volume: Volume<T>) -> Volume<T> {
        if self.is_identity() {
            return volume;
        }
        let [z, y, x] = volume.shape();
        let shape = [x, y, z];
        let strides = [1isize, x as isize, (x * y) as isize];
        let (mut out_shape, mut out_strides, mut start) = ([0; 3], [0isize; 3], 0isize);
        for axis in 0..3 {
            let out = self.to[axis];
            out_shape[out] = shape[axis];
            out_strides[out] = strides[axis];
            if self.reversed[axis] {
                start += (shape[axis] as isize - 1) * strides[axis];
                out_strides[out] = -strides[axis];
            }
        }
        let data = volume.data();
        let mut turned = Vec::with_capacity(data.len());
        for k in 0..out_shape[2] {
            for j in 0..out_shape[1] {
                let row = start + k as isize * out_strides[2] + j as isize * out_strides[1];
                turned.extend((0..out_shape[0]).map(|i| data[(row + i as isize * out_strides[0]) as usize]));
            }
        }
        // The permuted shape has as many voxels.
        Volume::new([out_shape[2], out_shape[1], out_shape[0]], turned).unwrap_or(volume)
    }
}

/// The rotation (or reflection) nearest to the directions of `affine`: its polar factor, by Newton's iteration.
fn nearest_rotation(affine: &Affine) -> [[f64; 3]; 3] {
    let mut m: [[f64; 3]; 3] = std::array::from_fn(|r| std::array::from_fn(|c| affine[r][c]));
    for axis in 0..3 {
        let length = (0..3).map(|r| m[r][axis] * m[r][axis]).sum::<f64>().sqrt();
        if length > 0.0 {
            m.iter_mut().for_each(|row| row[axis] /= length);
        }
    }
    for _ in 0..50 {
        let cofactor: [[f64; 3]; 3] = std::array::from_fn(|r| {
            std::array::from_fn(|c| {
                let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
                m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
            })
        });
        let determinant: f64 = (0..3).map(|c| m[0][c] * cofactor[0][c]).sum();
        if determinant.abs() < 1e-12 {
            break;
        }
        // The inverse's transpose is the cofactor matrix over the determinant.
        m = std::array::from_fn(|r| std::array::from_fn(|c| 0.5 * (m[r][c] + cofactor[r][c] / determinant)));
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_back_undoes_turning() {
        let volume = Volume::new([2, 3, 4], (0..24).collect::<Vec<i32>>()).unwrap();
        for to in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for bits in 0..8 {
                let turn = Turn { to, reversed: [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0] };
                let there = turn.apply(volume.clone());
                assert_eq!(turn.inverse().apply(there), volume, "{turn:?}");
            }
        }
    }
}

//! Which of a header's two placements counts, the sform or the qform, by ITK's rule.
//!
//! As ITK 5.4 decides (`NiftiImageIO`, and observed over random headers; see `tests/python/differential.py`):
//! - One form alone is taken.
//! - A skewed sform (columns not orthonormal within 1e-4) loses against the qform, unless the two agree within 1e-5.
//! - A straight sform wins if it is labelled scanner-anatomical.
//! - Else it wins if the forms are similar: voxel sizes, offsets and *left singular vectors* within 1e-4. Those vectors
//!   span the directions without saying which way an axis runs, so a sform whose axes are reversed against the qform's
//!   mostly wins, and a warning says that the two disagree.
//!
//! ITK computes all of this in single precision, and so does this file.

use std::path::Path;

use super::header::Header;
use super::orientation::{Matrix, ORTHONORMAL_TOLERANCE, column_length, determinant, normalised_columns};
use super::singular_vectors::LeftSingular;
use crate::ImageWarning;
use crate::image::NiftiForm;
use nnunet_volume::error::{Result, VolumeError};

/// Index to RAS: matrix, and position of the first voxel in mm.
pub(super) type Transform = (Matrix, [f64; 3]);

/// `sform_code` and `qform_code` of coordinates in the scanner.
const SCANNER: i32 = 1;

/// The transform that ITK takes from `header`, `None` if neither form is set. `pixdim`: the spacings, repaired.
pub(super) fn transform(
    path: &Path,
    header: &Header,
    pixdim: [f64; 3],
    warnings: &mut Vec<ImageWarning>,
) -> Result<Option<Transform>> {
    let (sform_known, qform_known) = (header.sform_code > 0, header.qform_code > 0);
    if !sform_known && !qform_known {
        return Ok(None);
    }
    let sform = sform(header);
    let sform_usable = sform_known && header.srow.iter().flatten().all(|v| v.is_finite());
    if !qform_known {
        if !sform_usable || determinant(&normalised_columns(sform.0)).abs() < 1e-6 {
            return Err(VolumeError::BadHeader {
                path: path.to_owned(),
                field: "srow_x, srow_y, srow_z (the sform)".into(),
                found: format!("{:?}", header.srow),
                expected: "three independent axes".into(),
                advice: "Repair the header's orientation, e.g. by copying it from the original image.",
            });
        }
        return Ok(Some(sform));
    }
    let qform = qform(header, pixdim);
    if !sform_usable {
        return Ok(Some(qform));
    }
    let take_sform = sform_wins(header.sform_code, &Single::of(&sform), &Single::of(&qform));
    let (taken, transform) = if take_sform { (NiftiForm::Sform, sform) } else { (NiftiForm::Qform, qform) };
    warnings.extend(disagreement(&sform, &qform, taken));
    Ok(Some(transform))
}

/// The warning for a file of which `taken` was used, if the header has both forms and they disagree.
pub(super) fn disagreement_in(header: &Header, taken: NiftiForm) -> Option<ImageWarning> {
    let usable =
        header.sform_code > 0 && header.qform_code > 0 && header.srow.iter().flatten().all(|v| v.is_finite());
    let pixdim = std::array::from_fn(|axis| header.pixdim[axis + 1]);
    usable.then(|| disagreement(&sform(header), &qform(header, pixdim), taken)).flatten()
}

fn sform(header: &Header) -> Transform {
    (header.srow.map(|r| [r[0], r[1], r[2]]), header.srow.map(|r| r[3]))
}

/// Index-to-RAS matrix of the quaternion, and the offset. In f32 for NIfTI-1, as the reference library has it.
fn qform(header: &Header, pixdim: [f64; 3]) -> Transform {
    let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
    let [mut b, mut c, mut d] = header.quaternion.map(finite);
    let norm = b * b + c * c + d * d;
    let mut a = 1.0 - norm;
    if a < 1e-7 {
        // Half a turn: only the axis counts.
        let scale = 1.0 / norm.sqrt();
        b *= scale;
        c *= scale;
        d *= scale;
        a = 0.0;
    } else {
        a = a.sqrt();
    }
    let scale = |v: f64| if v > 0.0 { v } else { 1.0 };
    let length = [
        scale(pixdim[0]),
        scale(pixdim[1]),
        if header.pixdim[0] < 0.0 { -scale(pixdim[2]) } else { scale(pixdim[2]) },
    ];
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ];
    let stored = |v: f64| if header.single { f64::from(v as f32) } else { v };
    let matrix = rotation.map(|row| std::array::from_fn(|axis| stored(row[axis] * length[axis])));
    (matrix, header.offset.map(finite))
}

/// A transform in single precision.
struct Single {
    matrix: [[f32; 3]; 3],
    offset: [f32; 3],
}

impl Single {
    fn of(transform: &Transform) -> Self {
        Self { matrix: transform.0.map(|row| row.map(|v| v as f32)), offset: transform.1.map(|v| v as f32) }
    }

    /// Whether the columns are orthogonal to one another.
    fn is_straight(&self) -> bool {
        let mut m = self.matrix;
        for c in 0..3 {
            let squares = (0..3).fold(0.0f32, |sum, r| sum + m[r][c] * m[r][c]);
            if squares != 0.0 {
                let scale = 1.0 / squares.sqrt();
                m.iter_mut().for_each(|row| row[c] *= scale);
            }
        }
        is_identity(&product_with_transposed(&m, &m))
    }

    fn is_nearly(&self, other: &Self) -> bool {
        let pairs = self.matrix.as_flattened().iter().zip(other.matrix.as_flattened());
        let apart: f32 = self.offset.iter().zip(&other.offset).map(|(a, b)| (a - b).abs()).sum();
        pairs.into_iter().all(|(a, b)| f64::from((a - b).abs()) <= 1e-5) && f64::from(apart) <= 1e-7
    }

    fn is_similar(&self, other: &Self) -> bool {
        let close =
            |a: &[f32; 3], b: &[f32; 3]| a.iter().zip(b).all(|(a, b)| f64::from((a - b).abs()) <= 1e-4);
        let (Some(a), Some(b)) = (LeftSingular::of(self.matrix), LeftSingular::of(other.matrix)) else {
            return false;
        };
        let rows = |v: &LeftSingular| std::array::from_fn(|r| std::array::from_fn(|c| v.vectors[c][r]));
        is_identity(&product_with_transposed(&rows(&a), &rows(&b)))
            && close(&a.values, &b.values)
            && close(&self.offset, &other.offset)
    }
}

fn sform_wins(sform_code: i32, sform: &Single, qform: &Single) -> bool {
    if sform.is_straight() {
        sform_code == SCANNER || sform.is_similar(qform)
    } else {
        sform.is_nearly(qform)
    }
}

/// A Bᵀ.
fn product_with_transposed(a: &[[f32; 3]; 3], b: &[[f32; 3]; 3]) -> [[f32; 3]; 3] {
    a.map(|row| b.map(|other| (0..3).fold(0.0f32, |sum, k| sum + row[k] * other[k])))
}

fn is_identity(m: &[[f32; 3]; 3]) -> bool {
    let deviation = |r: usize, c: usize| f64::from((m[r][c] - if r == c { 1.0 } else { 0.0 }).abs());
    (0..9).all(|i| deviation(i / 3, i % 3) <= ORTHONORMAL_TOLERANCE)
}

/// The warning that two forms place the image differently: directions more than 0.01 apart (half a degree), voxel
/// sizes more than 1 %, or the first voxel more than a tenth of its size. Quaternions in f32 alone are off by up to
/// 4e-4 near half a turn.
fn disagreement(sform: &Transform, qform: &Transform, taken: NiftiForm) -> Option<ImageWarning> {
    let (a, b) = (normalised_columns(sform.0), normalised_columns(qform.0));
    let turned = (0..9).any(|i| (a[i / 3][i % 3] - b[i / 3][i % 3]).abs() > 0.01);
    let lengths = |m: &Matrix| [0, 1, 2].map(|axis| column_length(m, axis));
    let (ls, lq) = (lengths(&sform.0), lengths(&qform.0));
    let scaled = (0..3).any(|axis| (ls[axis] - lq[axis]).abs() > 0.01 * lq[axis]);
    let smallest = lq.into_iter().fold(f64::INFINITY, f64::min);
    let moved = (0..3).any(|row| (sform.1[row] - qform.1[row]).abs() > 0.1 * smallest);
    (turned || scaled || moved).then_some(ImageWarning::FormsDisagree { taken })
}

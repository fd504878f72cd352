//! Between a NIfTI header's qform and sform (RAS) and a [`Geometry`] (LPS).
//!
//! Reading follows ITK 5.4: both codes unknown gives identity and origin 0, else [`forms`] chooses. A skewed sform without
//! a qform, which ITK refuses, is kept as it is. Direction columns are the matrix columns normalised in f64; a negative
//! spacing turns its axis.
//!
//! Writing puts both forms with code 1. The sform's column j is direction column j times a length that is the
//! spacing up to rounding, chosen so that normalising its f32 values gives the direction back bit for bit.

use std::path::Path;

use super::forms;
use super::header::Header;
use crate::ImageWarning;
use nnunet_volume::Geometry;
use nnunet_volume::error::{Result, VolumeError};

/// Largest deviation of the direction D from orthonormality, the largest entry of |D Dᵀ - 1|, that ITK accepts.
pub const ORTHONORMAL_TOLERANCE: f64 = 1e-4;

pub(super) type Matrix = [[f64; 3]; 3];

/// Geometry of the image that `header` describes; `flat` if the file has two dimensions.
pub(super) fn geometry(
    path: &Path,
    header: &Header,
    flat: bool,
    warnings: &mut Vec<ImageWarning>,
) -> Result<Geometry> {
    let dimensions = if flat { 2 } else { 3 };
    let mut pixdim = [1.0; 3];
    for (axis, spacing) in pixdim.iter_mut().enumerate().take(dimensions) {
        let value = header.pixdim[axis + 1];
        if !value.is_finite() {
            return Err(VolumeError::BadHeader {
                path: path.to_owned(),
                field: format!("pixdim[{}] (a spacing)", axis + 1),
                found: value.to_string(),
                expected: "a length in mm".into(),
                advice: "Set the voxel spacing in the header.",
            });
        }
        if value == 0.0 {
            warnings.push(ImageWarning::ZeroSpacing { axis });
        } else {
            *spacing = value;
        }
    }
    let unit = match header.units & 7 {
        1 => 1e3,
        3 => 1e-3,
        _ => 1.0,
    };
    let mut direction: Matrix = [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]];
    let mut origin = [0.0; 3];
    if let Some((matrix, offset)) = forms::transform(path, header, pixdim, warnings)? {
        for axis in 0..dimensions {
            let mut column = [-matrix[0][axis], -matrix[1][axis], matrix[2][axis]];
            column[dimensions..].fill(0.0);
            normalise(&mut column);
            for row in 0..3 {
                direction[row][axis] = column[row];
            }
        }
        if flat {
            direction[2] = [0., 0., 1.];
        }
        origin = [-offset[0] * unit, -offset[1] * unit, if flat { 0.0 } else { offset[2] * unit }];
    }
    for axis in 0..dimensions {
        if pixdim[axis] < 0.0 {
            direction.iter_mut().for_each(|row| row[axis] = -row[axis]);
        }
    }
    let deviation = deviation_from_orthonormal(&direction);
    if deviation > ORTHONORMAL_TOLERANCE {
        warnings.push(ImageWarning::NonOrthonormalDirection { deviation });
    }
    // Adding zero turns -0 into +0.
    let [ox, oy, oz] = origin.map(|v| v + 0.0);
    let d = direction.map(|row| row.map(|v| v + 0.0));
    let [sx, sy, sz] = pixdim.map(|p| (p * unit).abs());
    Ok(if flat {
        Geometry::flat([sx, sy], [ox, oy], [d[0][0], d[0][1], d[1][0], d[1][1]])
    } else {
        let mut direction = [0.0; 9];
        direction.as_chunks_mut::<3>().0.copy_from_slice(&d);
        Geometry { dimension: 3, spacing: [sx, sy, sz], origin: [ox, oy, oz], direction }
    })
}

pub(super) fn column_length(m: &Matrix, column: usize) -> f64 {
    m.iter().map(|row| row[column] * row[column]).sum::<f64>().sqrt()
}

fn normalise(v: &mut [f64; 3]) {
    let sum: f64 = v.iter().fold(0.0, |sum, x| sum + x * x);
    if sum > 0.0 {
        let length = sum.sqrt();
        v.iter_mut().for_each(|x| *x /= length);
    }
}

pub(super) fn normalised_columns(m: Matrix) -> Matrix {
    let mut out = m;
    for c in 0..3 {
        let mut column = [m[0][c], m[1][c], m[2][c]];
        normalise(&mut column);
        (0..3).for_each(|r| out[r][c] = column[r]);
    }
    out
}

/// Largest entry of |M Mᵀ - 1|.
fn deviation_from_orthonormal(m: &Matrix) -> f64 {
    let mut largest = 0.0f64;
    for r in 0..3 {
        for c in 0..3 {
            let dot: f64 = (0..3).map(|k| m[r][k] * m[c][k]).sum();
            largest = largest.max((dot - if r == c { 1.0 } else { 0.0 }).abs());
        }
    }
    largest
}

pub(super) fn determinant(m: &Matrix) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// Puts spacing, origin and direction of `geometry` into `header`.
pub(super) fn set_geometry(header: &mut Header, geometry: &Geometry) {
    let flat = geometry.dimension == 2;
    let dimensions = if flat { 2 } else { 3 };
    let round = |v: f64| if header.single { f64::from(v as f32) } else { v };
    let mut direction: Matrix = [[0.0; 3]; 3];
    direction.as_flattened_mut().copy_from_slice(&geometry.direction);
    let mut spacing = geometry.spacing.map(round);
    let mut origin = [-geometry.origin[0], -geometry.origin[1], geometry.origin[2]].map(round);
    let mut srow: Matrix = [[0., 0., 0.], [0., 0., 0.], [0., 0., 1.]];
    for axis in 0..dimensions {
        // To RAS.
        let mut column = [-direction[0][axis], -direction[1][axis], direction[2][axis]];
        column[dimensions..].fill(0.0);
        let scaled = column_that_normalises_to(column, spacing[axis], round);
        (0..3).for_each(|r| srow[r][axis] = scaled[r]);
    }
    if flat {
        spacing[2] = 1.0;
        origin[2] = 0.0;
        srow[2] = [0., 0., 1.];
    }
    let columns = normalised_columns(srow);
    let orthonormal = deviation_from_orthonormal(&columns) <= ORTHONORMAL_TOLERANCE;
    let (quaternion, handedness) = quaternion(&columns);
    header.pixdim = [handedness, spacing[0], spacing[1], spacing[2], 0., 0., 0., 0.];
    // A quaternion cannot hold skewed axes: then the sform alone says where the image lies, as in the input.
    header.qform_code = i32::from(orthonormal);
    header.sform_code = 1;
    header.quaternion = if orthonormal { quaternion } else { [0.0; 3] };
    header.offset = if orthonormal { origin } else { [0.0; 3] };
    for r in 0..3 {
        header.srow[r] = [srow[r][0], srow[r][1], srow[r][2], origin[r]].map(|v| v + 0.0);
    }
}

/// A vector of stored precision whose normalised f64 value is `unit` to the bit, its length as near to `length` as
/// that allows; the plain rounded product if there is none (a direction that did not come from such a header).
fn column_that_normalises_to(unit: [f64; 3], length: f64, round: impl Fn(f64) -> f64) -> [f64; 3] {
    // A column read from a header had the length of the spacing within 1e-3, and f32 products of it are recovered
    // exactly from any length within 3e-8 of its own: steps of that size find it.
    const STEP: f64 = 1.0 / (1 << 25) as f64;
    const STEPS: i32 = 40_000;
    let product = |t: f64| unit.map(|u| round(u * t));
    for step in 0..=STEPS {
        for sign in [1.0, -1.0] {
            let candidate = product(length * (1.0 + sign * f64::from(step) * STEP));
            let mut normalised = candidate;
            normalise(&mut normalised);
            if normalised == unit {
                return candidate;
            }
        }
    }
    product(length)
}

/// The quaternion (b, c, d) of a matrix with orthonormal columns, and 1, or -1 if the z axis is turned.
fn quaternion(m: &Matrix) -> ([f64; 3], f64) {
    let handedness = if determinant(m) < 0.0 { -1.0 } else { 1.0 };
    let r = m.map(|row| [row[0], row[1], row[2] * handedness]);
    let trace = r[0][0] + r[1][1] + r[2][2];
    // Shepperd's choice: divide by the largest of the four components.
    let (a, mut q) = if trace > 0.0 {
        let a = 0.5 * (1.0 + trace).sqrt();
        (
            a,
            [
                (r[2][1] - r[1][2]) / (4.0 * a),
                (r[0][2] - r[2][0]) / (4.0 * a),
                (r[1][0] - r[0][1]) / (4.0 * a),
            ],
        )
    } else {
        let i = (1..3).fold(0, |best, k| if r[k][k] > r[best][best] { k } else { best });
        let (j, k) = ((i + 1) % 3, (i + 2) % 3);
        let large = 0.5 * (1.0 + r[i][i] - r[j][j] - r[k][k]).max(0.0).sqrt();
        let mut q = [0.0; 3];
        q[i] = large;
        q[j] = (r[j][i] + r[i][j]) / (4.0 * large);
        q[k] = (r[k][i] + r[i][k]) / (4.0 * large);
        ((r[k][j] - r[j][k]) / (4.0 * large), q)
    };
    if a < 0.0 {
        q = q.map(|v| -v);
    }
    (q.map(|v| v + 0.0), handedness)
}

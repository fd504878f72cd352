//! Where a volume lies in the patient: spacing, origin, direction, as the file header states them.

use crate::SpacingMm;

/// Geometry of an image in ITK's convention: physical axes LPS, index axes (x, y, z).
///
/// This is the one place of the program in (x, y, z) order: the values go back into file headers
/// and into nnU-Net's `sitk_stuff` unchanged. Everything that computes uses [`Geometry::spacing_zyx`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Dimensions of the image in its file: 3, or 2 for a flat image.
    ///
    /// A flat image is a volume of shape (1, y, x). Its file knows two spacings, two coordinates of
    /// the origin and four direction cosines; here they are completed to three dimensions by a
    /// spacing of 999 times the larger one along z (as nnU-Net does), a zero and the unit axis.
    pub dimension: u8,
    /// Voxel size in mm along (x, y, z).
    pub spacing: [f64; 3],
    /// Physical position in mm of the first voxel's centre, (x, y, z) in LPS.
    pub origin: [f64; 3],
    /// Direction cosines, row-major 3x3: column `j` is the physical direction of index axis `j`.
    pub direction: [f64; 9],
}

impl Geometry {
    /// Identity direction, zero origin and the given spacing (x, y, z) in mm.
    pub fn with_spacing(spacing: [f64; 3]) -> Self {
        Self { dimension: 3, spacing, origin: [0.0; 3], direction: [1., 0., 0., 0., 1., 0., 0., 0., 1.] }
    }

    /// Voxel size in mm along (z, y, x), the order of the arrays.
    pub fn spacing_zyx(&self) -> SpacingMm {
        SpacingMm::new([self.spacing[2], self.spacing[1], self.spacing[0]])
    }

    /// Largest entry of |D Dᵀ - 1| of the direction matrix D: zero for axes at right angles.
    pub fn deviation_from_orthonormal(&self) -> f64 {
        let d = |row: usize, k: usize| self.direction[3 * row + k];
        let entry =
            |r: usize, c: usize| (0..3).map(|k| d(r, k) * d(c, k)).sum::<f64>() - f64::from(u8::from(r == c));
        (0..9).map(|i| entry(i / 3, i % 3).abs()).fold(0.0, f64::max)
    }

    /// Geometry of a flat image from its two-dimensional values: spacing and origin (x, y) in mm,
    /// direction row-major 2x2.
    pub fn flat(spacing: [f64; 2], origin: [f64; 2], direction: [f64; 4]) -> Self {
        let [a, b, c, d] = direction;
        Self {
            dimension: 2,
            spacing: [spacing[0], spacing[1], spacing[0].max(spacing[1]) * 999.0],
            origin: [origin[0], origin[1], 0.0],
            direction: [a, b, 0., c, d, 0., 0., 0., 1.],
        }
    }
}

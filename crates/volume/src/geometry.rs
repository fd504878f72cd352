//! Where a volume lies in the patient: spacing, origin, direction, as the file header states them.

/// Geometry of an image in ITK's convention: physical axes LPS, index axes (x, y, z).
///
/// This is the one place of the program in (x, y, z) order: the values go back into file headers
/// and into nnU-Net's `sitk_stuff` unchanged. Everything that computes uses [`Geometry::spacing_zyx`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
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
        Self { spacing, origin: [0.0; 3], direction: [1., 0., 0., 0., 1., 0., 0., 0., 1.] }
    }

    /// Voxel size in mm along (z, y, x), the order of the arrays.
    pub fn spacing_zyx(&self) -> [f64; 3] {
        [self.spacing[2], self.spacing[1], self.spacing[0]]
    }
}

//! Whether two images of a case lie in the same place. Voxels are combined by their indices whatever the headers say,
//! as in the reference, so a difference is worth a warning.

use nnunet_image_io::nifti::nibabel::Affine;
use nnunet_volume::SpacingMm;

use super::image_geometry::ImageGeometry;

/// One way in which an image lies elsewhere than another.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Displacement {
    /// Another spacing.
    #[error("spacing {found:?} mm (z, y, x) instead of {expected:?}")]
    Spacing {
        /// Spacing of the image.
        found: SpacingMm,
        /// That of the other.
        expected: SpacingMm,
    },
    /// Another origin.
    #[error("origin {found:?} mm (x, y, z) instead of {expected:?}")]
    Origin {
        /// Origin of the image.
        found: [f64; 3],
        /// That of the other.
        expected: [f64; 3],
    },
    /// Another direction.
    #[error("direction {found:?} instead of {expected:?}")]
    Direction {
        /// Direction of the image, row-major.
        found: [f64; 9],
        /// That of the other.
        expected: [f64; 9],
    },
    /// Another affine.
    #[error("affine {found:?} instead of {expected:?}")]
    Affine {
        /// Affine of the image.
        found: Affine,
        /// That of the other.
        expected: Affine,
    },
}

/// How the image `found` lies elsewhere than `expected`, beyond rounding (1e-5 relative, as in the reference).
pub(super) fn displacements(found: &ImageGeometry, expected: &ImageGeometry) -> Vec<Displacement> {
    let mut all = Vec::new();
    let (spacing, expected_spacing) = (found.spacing_zyx(), expected.spacing_zyx());
    if !close(&spacing.along_axes(), &expected_spacing.along_axes()) {
        all.push(Displacement::Spacing { found: spacing, expected: expected_spacing });
    }
    match (found, expected) {
        (ImageGeometry::Itk(a), ImageGeometry::Itk(b)) => {
            if !close(&a.origin, &b.origin) {
                all.push(Displacement::Origin { found: a.origin, expected: b.origin });
            }
            if !close(&a.direction, &b.direction) {
                all.push(Displacement::Direction { found: a.direction, expected: b.direction });
            }
        }
        (ImageGeometry::Nibabel { original: a, .. }, ImageGeometry::Nibabel { original: b, .. })
            if !close(a.as_flattened(), b.as_flattened()) =>
        {
            all.push(Displacement::Affine { found: *a, expected: *b });
        }
        _ => {}
    }
    all
}

/// NumPy's `allclose(found, expected)`: within 1e-8 + 1e-5 |expected|.
pub(super) fn close(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-8 + 1e-5 * e.abs())
}

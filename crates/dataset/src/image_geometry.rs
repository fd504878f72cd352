//! Where an image lies, in the terms of the reader that read it: what is needed to write a segmentation back.

use nnunet_image_io::nifti::nibabel::Affine;
use nnunet_volume::{Geometry, SpacingMm};

/// Spacing of flat pictures, (z, y, x): there is nothing across.
pub const PICTURE_SPACING: SpacingMm = SpacingMm::new([999.0, 1.0, 1.0]);

/// Volume in mL of a voxel of `spacing`; pictures, whose files state none, have voxels of 1 mm.
pub fn voxel_ml(spacing: SpacingMm) -> f64 {
    let spacing = if spacing == PICTURE_SPACING { SpacingMm::UNIT } else { spacing };
    spacing.voxel_volume() / 1000.0
}

/// Geometry of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ImageGeometry {
    /// Spacing, origin and direction, as SimpleITK has them.
    Itk(Geometry),
    /// An affine, as nibabel has it.
    Nibabel {
        /// Voxel size in mm along (z, y, x).
        spacing_zyx: SpacingMm,
        /// Index (x, y, z) in the file to position in RAS.
        original: Affine,
        /// The same for the axes as read, if the reader turned them.
        reoriented: Option<Affine>,
    },
    /// A volume or picture without a place: voxel size in mm along (z, y, x).
    Spacing(SpacingMm),
}

impl ImageGeometry {
    /// Voxel size in mm along (z, y, x).
    pub fn spacing_zyx(&self) -> SpacingMm {
        match self {
            Self::Itk(geometry) => geometry.spacing_zyx(),
            Self::Nibabel { spacing_zyx, .. } => *spacing_zyx,
            Self::Spacing(spacing) => *spacing,
        }
    }
}

impl From<Geometry> for ImageGeometry {
    fn from(geometry: Geometry) -> Self {
        Self::Itk(geometry)
    }
}

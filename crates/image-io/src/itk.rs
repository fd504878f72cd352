//! The formats that SimpleITK reads and writes, told apart by their endings.

use std::path::Path;

use crate::labels::StoredLabels;
use crate::{Image, metaimage, nifti, nrrd};
use nnunet_volume::error::{Result, VolumeError};
use nnunet_volume::{Geometry, Volume};

/// A format whose files say where the image lies: a geometry of spacing, origin and direction.
#[derive(Debug)]
pub struct ItkFormat {
    /// Endings of its files, in lower case.
    pub endings: &'static [&'static str],
    /// Whether ITK refuses axes that are not at right angles.
    pub(crate) refuses_skew: bool,
    pub(crate) read: fn(&Path) -> Result<Image>,
    pub(crate) read_geometry: ReadGeometry,
    pub(crate) write_u8: WriteVolume<u8>,
    pub(crate) write_u16: WriteVolume<u16>,
}

/// Reads shape (z, y, x) and geometry from a header.
pub(crate) type ReadGeometry = fn(&Path) -> Result<([usize; 3], Geometry)>;

/// Writes a volume (z, y, x) with its geometry.
pub(crate) type WriteVolume<T> = fn(&Path, &Volume<T>, &Geometry) -> Result<()>;

/// All formats.
const FORMATS: [&ItkFormat; 3] = [&nifti::FORMAT, &nrrd::FORMAT, &metaimage::FORMAT];

impl ItkFormat {
    /// The format of `path` by its ending, in whatever letter case.
    ///
    /// # Errors
    /// Another ending.
    pub fn of(path: &Path) -> Result<&'static Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let has_ending = |format: &&Self| format.endings.iter().any(|ending| name.ends_with(ending));
        FORMATS.into_iter().find(has_ending).ok_or_else(|| VolumeError::Unsupported {
            path: path.to_owned(),
            found: "a file of this ending".into(),
            expected: ".nii.gz, .nii, .nrrd or .mha",
            advice: "Convert it to .nii.gz.",
        })
    }

    /// Whether ITK reads images of this geometry: of NIfTI it refuses axes that are not at right angles.
    pub fn accepts(&self, geometry: &Geometry) -> bool {
        !self.refuses_skew || geometry.deviation_from_orthonormal() <= nifti::ORTHONORMAL_TOLERANCE
    }

    /// Reads the image in `path`.
    ///
    /// # Errors
    /// What the format does not allow.
    pub fn read(&self, path: &Path) -> Result<Image> {
        (self.read)(path)
    }

    /// Reads only the header of `path`: shape (z, y, x) and geometry.
    ///
    /// # Errors
    /// As [`Self::read`], except for what only the voxels can show.
    pub fn read_geometry(&self, path: &Path) -> Result<([usize; 3], Geometry)> {
        (self.read_geometry)(path)
    }

    /// Writes labels with `geometry`.
    ///
    /// # Errors
    /// A flat geometry for a volume of several slices; what the operating system refuses.
    pub fn write_stored(&self, path: &Path, labels: &StoredLabels, geometry: &Geometry) -> Result<()> {
        match labels {
            StoredLabels::U8(labels) => (self.write_u8)(path, labels, geometry),
            StoredLabels::U16(labels) => (self.write_u16)(path, labels, geometry),
        }
    }

    /// Writes a label image: u8 if every label is below 255, else u16.
    ///
    /// # Errors
    /// As [`Self::write_stored`]; a label above 65535.
    pub fn write_labels<L: Copy + Into<u32>>(
        &self,
        path: &Path,
        labels: &Volume<L>,
        geometry: &Geometry,
    ) -> Result<()> {
        self.write_stored(path, &StoredLabels::new(path, labels)?, geometry)
    }
}

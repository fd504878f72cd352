//! What reads and writes the images of a dataset, and what it reads.

use std::fmt::Debug;
use std::path::Path;

use nnunet_image_io::{ImageWarning, StoredLabels, VoxelType};
use nnunet_volume::{ChannelVolume, SpacingMm, Volume, VolumeError};

use crate::image_geometry::ImageGeometry;
use crate::placement::{Displacement, displacements};

/// Reads and writes files of images, with its own conventions on geometry and on what a file may hold.
pub trait ImageFormat: Debug + Send + Sync {
    /// File endings for which it is chosen, in lower case and with their dot, e.g. `.nii.gz`.
    fn endings(&self) -> &[&str];

    /// Further endings of files that it reads where it is asked for by name.
    fn also_reads(&self) -> &[&str] {
        &[]
    }

    /// Whether it may be chosen for a dataset with the image `path`.
    fn can_read(&self, path: &Path) -> bool {
        self.read_header(path).is_ok()
    }

    /// Whether the channels of a case are colours in one file, instead of a file each.
    fn channels_are_colours(&self) -> bool {
        false
    }

    /// Whether files say where their image lies, beyond its spacing.
    fn knows_place(&self) -> bool {
        true
    }

    /// Whether reading reports voxels that are no numbers as [`ImageWarning::NonFiniteVoxels`]. Elsewhere images are
    /// looked through once more.
    fn counts_non_finite(&self) -> bool {
        false
    }

    /// The warning for an image `path` whose spacing belongs in a file of its own that is not there.
    fn missing_spacing(&self, _path: &Path) -> Option<ImageWarning> {
        None
    }

    /// Channels, shape (z, y, x) and spacing (z, y, x) in mm of the image in `path`, from its header.
    ///
    /// # Errors
    /// As [`Self::read_channels`], except for what only the voxels can show.
    fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError>;

    /// Reads an image file of a case.
    ///
    /// # Errors
    /// What the format does not allow.
    fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError>;

    /// Reads a segmentation.
    ///
    /// # Errors
    /// What the format does not allow; several values per voxel.
    fn read(&self, path: &Path) -> Result<ReadImage, VolumeError>;

    /// Writes a segmentation (z, y, x) with the geometry of an image that this format read.
    ///
    /// # Errors
    /// A geometry of another format ([`other_geometry`]); what the format or the operating system does not allow.
    fn write_labels(
        &self,
        path: &Path,
        labels: &StoredLabels,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError>;
}

/// The error for a geometry that another reader than `own` made.
pub fn other_geometry(path: &Path, own: &str) -> VolumeError {
    VolumeError::Unsupported {
        path: path.to_owned(),
        found: format!("the geometry of another reader than {own}"),
        expected: "properties made with the reader that the plans name",
        advice: "Preprocess the case again.",
    }
}

/// An image of one channel, or a segmentation.
#[derive(Debug, Clone)]
pub struct ReadImage {
    /// Voxels (z, y, x).
    pub volume: Volume<f32>,
    /// Where they lie.
    pub geometry: ImageGeometry,
    /// Type of the voxels in the file.
    pub stored_type: VoxelType,
    /// What is unusual about the file.
    pub warnings: Vec<ImageWarning>,
}

impl ReadImage {
    /// Warnings about the voxels, not about where they lie: for a segmentation, which takes the place of its image.
    pub fn voxel_warnings(&self) -> impl Iterator<Item = &ImageWarning> {
        self.warnings.iter().filter(|warning| {
            matches!(
                warning,
                ImageWarning::NonFiniteVoxels { .. }
                    | ImageWarning::BytesBehindVoxels
                    | ImageWarning::LossyCompression { .. }
            )
        })
    }

    /// How this image lies elsewhere than `other`; in no way where one of the files does not say where it lies.
    pub fn displacements_from(&self, other: &Self) -> Vec<Displacement> {
        if self.is_placed() && other.is_placed() {
            displacements(&self.geometry, &other.geometry)
        } else {
            Vec::new()
        }
    }

    /// Whether the spacing was read and not taken to be 1 mm.
    pub(crate) fn is_placed(&self) -> bool {
        let unknown = |warning: &ImageWarning| {
            matches!(warning, ImageWarning::NoSpacing | ImageWarning::NoSpacingFile { .. })
        };
        !self.warnings.iter().any(unknown)
    }
}

/// A file with the channels that it holds.
#[derive(Debug, Clone)]
pub struct ReadChannels {
    /// Voxels (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// Where they lie.
    pub geometry: ImageGeometry,
    /// What is unusual about the file.
    pub warnings: Vec<ImageWarning>,
}

impl From<ReadImage> for ReadChannels {
    /// An image of one channel.
    fn from(image: ReadImage) -> Self {
        let shape = image.volume.shape();
        match ChannelVolume::new(1, shape, image.volume.into_data()) {
            Some(data) => Self { data, geometry: image.geometry, warnings: image.warnings },
            None => unreachable!("a volume has as many voxels as its shape says"),
        }
    }
}

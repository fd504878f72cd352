//! Reading the files of a case: all channels of an image as one array.

use std::path::{Path, PathBuf};

use nnunet_volume::{ChannelVolume, ImageWarning, VolumeError};

use super::image_geometry::ImageGeometry;
use super::reader::{ImageReader, close};

/// All channels of a case.
#[derive(Debug, Clone)]
pub struct CaseImages {
    /// Voxels (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// Geometry of the first file.
    pub geometry: ImageGeometry,
    /// What is unusual about the files.
    pub warnings: Vec<(PathBuf, ImageWarning)>,
}

/// Why the files of a case cannot be used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file cannot be read.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The case has no files.
    #[error("case {case}: no image files")]
    NoImages {
        /// The case.
        case: String,
    },
    /// Two files have different shapes.
    #[error(
        "{path}: shape {found:?} (z, y, x), but {first} has {expected:?}; all channels of a case must be on one \
         grid: resample them to the first one's",
        path = path.display(), first = first.display()
    )]
    ChannelShape {
        /// The other channel.
        path: PathBuf,
        /// Its shape (z, y, x).
        found: [usize; 3],
        /// The first channel.
        first: PathBuf,
        /// Its shape (z, y, x).
        expected: [usize; 3],
    },
    /// Two files have different numbers of colours.
    #[error(
        "{path}: {found} colours, but {first} has {expected}; all pictures of a case must have as many",
        path = path.display(), first = first.display()
    )]
    Colours {
        /// The other file.
        path: PathBuf,
        /// Its channels.
        found: usize,
        /// The first file.
        first: PathBuf,
        /// Its channels.
        expected: usize,
    },
    /// Two files have different spacings.
    #[error(
        "{path}: spacing {found:?} mm (z, y, x), but {first} has {expected:?}; all channels of a case must be on \
         one grid: resample them to the first one's",
        path = path.display(), first = first.display()
    )]
    ChannelSpacing {
        /// The other channel.
        path: PathBuf,
        /// Its spacing (z, y, x) in mm.
        found: [f64; 3],
        /// The first channel.
        first: PathBuf,
        /// Its spacing (z, y, x) in mm.
        expected: [f64; 3],
    },
}

/// The grid of the first file of a case, with which all others are compared.
struct First<'a> {
    path: &'a Path,
    channels: usize,
    shape: [usize; 3],
    geometry: ImageGeometry,
}

impl First<'_> {
    fn check(
        &self,
        path: &Path,
        channels: usize,
        shape: [usize; 3],
        spacing: [f64; 3],
    ) -> Result<(), ReadError> {
        let (path, first) = (path.to_owned(), self.path.to_owned());
        if shape != self.shape {
            return Err(ReadError::ChannelShape { path, found: shape, first, expected: self.shape });
        }
        if channels != self.channels {
            return Err(ReadError::Colours { path, found: channels, first, expected: self.channels });
        }
        let expected = self.geometry.spacing_zyx();
        if !close(&spacing, &expected) {
            return Err(ReadError::ChannelSpacing { path, found: spacing, first, expected });
        }
        Ok(())
    }
}

impl ImageReader {
    /// Reads all channels of a case. Shapes must be equal and spacings close (1e-5 relative), as in the
    /// reference; the place is the first file's.
    pub fn read_images(self, case: &str, paths: &[PathBuf]) -> Result<CaseImages, ReadError> {
        let no_images = || ReadError::NoImages { case: case.to_owned() };
        let (first_path, others) = paths.split_first().ok_or_else(no_images)?;
        let image = self.read_channels(first_path)?;
        let first = First {
            path: first_path,
            channels: image.data.channels(),
            shape: image.data.shape(),
            geometry: image.geometry,
        };
        let mut warnings: Vec<_> = image.warnings.into_iter().map(|w| (first_path.clone(), w)).collect();
        let mut data = image.data.into_data();
        data.reserve_exact(data.len() * others.len());
        for path in others {
            let image = self.read_channels(path)?;
            let (channels, shape) = (image.data.channels(), image.data.shape());
            first.check(path, channels, shape, image.geometry.spacing_zyx())?;
            warnings.extend(image.warnings.into_iter().map(|w| (path.clone(), w)));
            data.extend_from_slice(image.data.data());
        }
        let data =
            ChannelVolume::new(first.channels * paths.len(), first.shape, data).ok_or_else(no_images)?;
        Ok(CaseImages { data, geometry: first.geometry, warnings })
    }
}

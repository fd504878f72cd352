//! Reading the files of a case: all channels of an image as one array, or a segmentation.
//!
//! Which reader serves which files is the reference's choice by name or by file ending; here each name
//! stands for the format that it reads.

use std::path::{Path, PathBuf};

use nnunet_volume::formats::nifti;
use nnunet_volume::{ChannelVolume, Geometry, Image, ImageWarning, VolumeError};

use super::DatasetError;
use super::json::DatasetJson;

/// What reads the images of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageReader {
    /// `.nii` and `.nii.gz`, with the geometry as SimpleITK gives it.
    Nifti,
}

/// The file endings that are read.
const KNOWN_ENDINGS: &str = ".nii.gz, .nii";

/// All channels of a case.
#[derive(Debug, Clone)]
pub struct CaseImages {
    /// Voxels (c, z, y, x).
    pub data: ChannelVolume<f32>,
    /// Geometry of the first channel.
    pub geometry: Geometry,
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
    /// Two channels have different shapes.
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
    /// Two channels have different spacings.
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

impl ImageReader {
    /// The reader for a dataset: the one that dataset.json names, else by file ending.
    pub fn for_dataset(json: &DatasetJson) -> Result<Self, DatasetError> {
        match &json.overwrite_image_reader_writer {
            Some(name) => Self::from_name(name, json.path()),
            None => Self::from_file_ending(&json.file_ending, json.path()),
        }
    }

    /// The reader that the reference calls `name`; `path` is the file that asks for it.
    pub fn from_name(name: &str, path: &Path) -> Result<Self, DatasetError> {
        match name {
            "SimpleITKIO" | "NibabelIO" => Ok(Self::Nifti),
            _ => Err(DatasetError::BadValue {
                path: path.to_owned(),
                key: "image reader".into(),
                found: name.into(),
                expected: "SimpleITKIO or NibabelIO for NIfTI files".into(),
            }),
        }
    }

    /// The reader for a file ending such as `.nii.gz`; `path` is the file that asks for it.
    pub fn from_file_ending(ending: &str, path: &Path) -> Result<Self, DatasetError> {
        match ending.to_ascii_lowercase().as_str() {
            ".nii" | ".nii.gz" => Ok(Self::Nifti),
            _ => Err(DatasetError::BadValue {
                path: path.to_owned(),
                key: "file_ending".into(),
                found: ending.into(),
                expected: format!("one of {KNOWN_ENDINGS}; convert the images"),
            }),
        }
    }

    /// Reads one file.
    pub fn read(self, path: &Path) -> Result<Image, VolumeError> {
        match self {
            Self::Nifti => nifti::read(path),
        }
    }

    /// Reads all channels of a case. Shapes must be equal and spacings close (1e-5 relative), as in the
    /// reference; origins and directions are the first channel's.
    pub fn read_images(self, case: &str, paths: &[PathBuf]) -> Result<CaseImages, ReadError> {
        let Some((first_path, others)) = paths.split_first() else {
            return Err(ReadError::NoImages { case: case.to_owned() });
        };
        let first = self.read(first_path)?;
        let (shape, geometry) = (first.volume.shape(), first.geometry);
        let mut warnings: Vec<_> = first.warnings.into_iter().map(|w| (first_path.clone(), w)).collect();
        let mut data = first.volume.into_data();
        data.reserve_exact(data.len() * others.len());
        for path in others {
            let image = self.read(path)?;
            if image.volume.shape() != shape {
                let (path, first) = (path.clone(), first_path.clone());
                return Err(ReadError::ChannelShape {
                    path,
                    found: image.volume.shape(),
                    first,
                    expected: shape,
                });
            }
            let (found, expected) = (image.geometry.spacing_zyx(), geometry.spacing_zyx());
            if !close(&found, &expected) {
                let (path, first) = (path.clone(), first_path.clone());
                return Err(ReadError::ChannelSpacing { path, found, first, expected });
            }
            warnings.extend(image.warnings.into_iter().map(|w| (path.clone(), w)));
            data.extend_from_slice(image.volume.data());
        }
        match ChannelVolume::new(paths.len(), shape, data) {
            Some(data) => Ok(CaseImages { data, geometry, warnings }),
            None => Err(ReadError::NoImages { case: case.to_owned() }),
        }
    }
}

/// NumPy's `allclose(found, expected)`: within 1e-8 + 1e-5 |expected|.
pub(crate) fn close(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-8 + 1e-5 * e.abs())
}

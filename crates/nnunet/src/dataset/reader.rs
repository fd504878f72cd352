//! Reading the files of a case: all channels of an image as one array, or a segmentation; writing
//! segmentations in the same format.
//!
//! Which reader serves which files is the reference's choice by name or by file ending; here a reader
//! is the format of the files.

use std::path::{Path, PathBuf};

use nnunet_volume::formats::{metaimage, nifti, nrrd};
use nnunet_volume::{ChannelVolume, Geometry, Image, ImageWarning, Volume, VolumeError};

use super::DatasetError;
use super::json::DatasetJson;

/// What reads and writes the images of a dataset: one format, as all files have the same ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageReader {
    /// `.nii` and `.nii.gz`.
    Nifti,
    /// `.nrrd`.
    Nrrd,
    /// `.mha`.
    MetaImage,
}

/// The file endings that are read.
const KNOWN_ENDINGS: &str = ".nii.gz, .nii, .nrrd, .mha";

/// Readers of the reference that do what none of ours does.
const OTHER_READERS: [&str; 4] =
    ["NaturalImage2DIO", "Tiff3DIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient"];

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
        Self::new(json.overwrite_image_reader_writer.as_deref(), &json.file_ending, json.path())
    }

    /// The reader that the reference calls `name`, for files of `file_ending`. A name that the reference
    /// has not either leaves the choice to the ending. `path` is the file that asks for the reader.
    pub fn new(name: Option<&str>, file_ending: &str, path: &Path) -> Result<Self, DatasetError> {
        let bad = |found: &str, expected: &str| DatasetError::BadValue {
            path: path.to_owned(),
            key: "image reader".into(),
            found: format!("{found} for {file_ending}"),
            expected: expected.into(),
        };
        let reader = Self::from_file_ending(file_ending, path)?;
        match name {
            Some("NibabelIO") if reader != Self::Nifti => {
                Err(bad("NibabelIO", "SimpleITKIO, or NIfTI files"))
            }
            Some(name) if OTHER_READERS.contains(&name) => {
                Err(bad(name, "SimpleITKIO, or NibabelIO for NIfTI files"))
            }
            _ => Ok(reader),
        }
    }

    /// The reader for a file ending such as `.nii.gz`; `path` is the file that asks for it.
    pub fn from_file_ending(ending: &str, path: &Path) -> Result<Self, DatasetError> {
        match ending.to_ascii_lowercase().as_str() {
            ".nii" | ".nii.gz" => Ok(Self::Nifti),
            ".nrrd" => Ok(Self::Nrrd),
            ".mha" => Ok(Self::MetaImage),
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
            Self::Nrrd => nrrd::read(path),
            Self::MetaImage => metaimage::read(path),
        }
    }

    /// Writes a segmentation (z, y, x): u8 if every label is below 255, else u16.
    pub fn write_labels<L: Copy + Into<u32>>(
        self,
        path: &Path,
        labels: &Volume<L>,
        geometry: &Geometry,
    ) -> Result<(), VolumeError> {
        match self {
            Self::Nifti => nifti::write_labels(path, labels, geometry),
            Self::Nrrd => nrrd::write_labels(path, labels, geometry),
            Self::MetaImage => metaimage::write_labels(path, labels, geometry),
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

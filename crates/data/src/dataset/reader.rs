//! The readers of the reference: which one serves a dataset, and reading and writing single files with it.
//!
//! Each reader has its own conventions on geometry and on what a file may hold. dataset.json may name one
//! (`overwrite_image_reader_writer`); else it is the first that serves the file ending and can read an
//! example. From planning on the plans say which one it is.

use std::path::Path;

use nnunet_image_io::nifti::nibabel::{self, NibabelImage};
use nnunet_image_io::tiff3d::{self, Naming};
use nnunet_image_io::{Image, ImageWarning, VoxelType};
use nnunet_image_io::{metaimage, natural_image, nifti, nrrd};
use nnunet_volume::{ChannelVolume, Volume, VolumeError};

use super::DatasetError;
use super::image_geometry::{ImageGeometry, PICTURE_SPACING};
use super::json::DatasetJson;
use super::placement::{Displacement, displacements};
use nnunet_base::spelling;

/// What reads and writes the images of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageReader {
    /// `NaturalImage2DIO`: flat pictures, PNG, BMP or TIFF, whose colours are channels.
    NaturalImage2d,
    /// `SimpleITKIO`: NIfTI, NRRD and MetaImage with SimpleITK's geometry.
    SimpleItk,
    /// `Tiff3DIO`: volumes in TIFF, the spacing in a JSON file beside it.
    Tiff3d,
    /// `NibabelIO`: NIfTI with nibabel's affine.
    Nibabel,
    /// `NibabelIOWithReorient`: the same, axes turned to right, anterior, superior.
    NibabelReoriented,
}

/// A reader's name in the reference and its file endings.
struct Description {
    reader: ImageReader,
    name: &'static str,
    /// Endings for which the reader is chosen; `.gipl`, which the reference has too, is not read.
    chosen_for: &'static [&'static str],
    /// Further endings of files that it reads.
    also_reads: &'static [&'static str],
}

/// All readers, in the order in which they are tried.
const READERS: [Description; 5] = [
    Description {
        reader: ImageReader::NaturalImage2d,
        name: "NaturalImage2DIO",
        chosen_for: &[".png", ".bmp", ".tif"],
        also_reads: &[".tiff"],
    },
    Description {
        reader: ImageReader::SimpleItk,
        name: "SimpleITKIO",
        chosen_for: &[".nii.gz", ".nrrd", ".mha"],
        also_reads: &[".nii"],
    },
    Description {
        reader: ImageReader::Tiff3d,
        name: "Tiff3DIO",
        chosen_for: &[".tif", ".tiff"],
        also_reads: &[],
    },
    Description {
        reader: ImageReader::Nibabel,
        name: "NibabelIO",
        chosen_for: &[".nii", ".nii.gz"],
        also_reads: &[],
    },
    Description {
        reader: ImageReader::NibabelReoriented,
        name: "NibabelIOWithReorient",
        chosen_for: &[".nii", ".nii.gz"],
        also_reads: &[],
    },
];

/// The ending of `path`, as it is written, if it is one of an image in whatever letter case: `.nii.gz`, `.NRRD`, ...
pub(super) fn image_ending(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let known = READERS.iter().flat_map(|reader| reader.chosen_for.iter().chain(reader.also_reads));
    known
        .filter_map(|ending| {
            name.get(name.len().checked_sub(ending.len())?..).filter(|end| end.eq_ignore_ascii_case(ending))
        })
        .max_by_key(|end| end.len())
}

/// What stands for "none named" in a dataset.json, as in the reference.
const NOT_NAMED: &str = "None";

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
    pub(super) fn is_placed(&self) -> bool {
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

impl ImageReader {
    /// The reader for a dataset of which `example` is an image: the one that dataset.json names, else the
    /// first for the file ending that can read the example.
    ///
    /// If none can, it is the first for the file ending: it will say what is wrong with the file.
    ///
    /// # Errors
    /// An ending that no reader is for; a reader that is not known or does not read such files.
    pub fn for_example(json: &DatasetJson, example: Option<&Path>) -> Result<Self, DatasetError> {
        let by_ending = Self::for_dataset(json)?;
        if json.overwrite_image_reader_writer.as_deref().is_some_and(|name| name != NOT_NAMED) {
            return Ok(by_ending);
        }
        let Some(example) = example else { return Ok(by_ending) };
        let found = Self::candidates(&json.file_ending).find(|reader| reader.can_read(example));
        Ok(found.unwrap_or(by_ending))
    }

    /// The reader for a dataset: the one that dataset.json names, else the first for the file ending.
    pub fn for_dataset(json: &DatasetJson) -> Result<Self, DatasetError> {
        Self::new(json.overwrite_image_reader_writer.as_deref(), &json.file_ending, json.path())
    }

    /// The reader that the reference calls `name`, for files of `file_ending`. `path` is the file that asks for the
    /// reader.
    ///
    /// # Errors
    /// An ending that no reader is for; a reader that does not read such files, or a name that is not known. The
    /// reference also refuses unknown names in plans; in a dataset.json it prints a line and lets the file ending
    /// decide, with which a typo or a reader of one's own ends in images read by other rules than intended.
    pub fn new(name: Option<&str>, file_ending: &str, path: &Path) -> Result<Self, DatasetError> {
        let bad = |found: String, expected: String| DatasetError::BadValue {
            path: path.to_owned(),
            key: "image reader".into(),
            found,
            expected,
        };
        let Some(name) = name.filter(|name| *name != NOT_NAMED) else {
            return Self::from_file_ending(file_ending, path);
        };
        let Some(reader) = Self::by_name(name) else {
            let names = by_resemblance(name).join(", ");
            let expected = format!("one of {names}; readers written in Python cannot be used here");
            return Err(bad(name.to_owned(), expected));
        };
        let known = reader.description();
        let ending = file_ending.to_ascii_lowercase();
        let mut endings = known.chosen_for.iter().chain(known.also_reads);
        if !endings.any(|known| *known == ending) {
            let expected = format!("files of {}", [known.chosen_for, known.also_reads].concat().join(", "));
            return Err(bad(format!("{name} for {file_ending}"), expected));
        }
        Ok(reader)
    }

    /// The first reader for a file ending such as `.nii.gz`; `path` is the file that asks for it.
    pub fn from_file_ending(ending: &str, path: &Path) -> Result<Self, DatasetError> {
        Self::candidates(ending).next().ok_or_else(|| {
            let mut endings: Vec<_> = READERS.iter().flat_map(|known| known.chosen_for).copied().collect();
            endings.sort_unstable();
            endings.dedup();
            DatasetError::BadValue {
                path: path.to_owned(),
                key: "file_ending".into(),
                found: ending.into(),
                expected: format!("one of {}; convert the images", endings.join(", ")),
            }
        })
    }

    /// Its name in the reference, as plans have it.
    pub fn name(self) -> &'static str {
        self.description().name
    }

    fn by_name(name: &str) -> Option<Self> {
        READERS.iter().find(|known| known.name == name).map(|known| known.reader)
    }

    fn description(self) -> &'static Description {
        // The table has every variant, in the order of their declaration.
        &READERS[self as usize]
    }

    /// The readers that may be chosen for a file ending, in order.
    fn candidates(ending: &str) -> impl Iterator<Item = Self> {
        let ending = ending.to_ascii_lowercase();
        READERS
            .iter()
            .filter(move |known| known.chosen_for.contains(&ending.as_str()))
            .map(|known| known.reader)
    }

    /// Whether the header of `path` is one that this reader takes. ITK refuses NIfTI files whose axes are not
    /// at right angles, so the reference goes on to nibabel for them.
    fn can_read(self, path: &Path) -> bool {
        match self {
            Self::SimpleItk if is_nifti(path) => nifti::read_geometry(path).is_ok_and(|(_, geometry)| {
                geometry.deviation_from_orthonormal() <= nifti::ORTHONORMAL_TOLERANCE
            }),
            _ => self.read_header(path).is_ok(),
        }
    }

    /// Channels, shape (z, y, x) and spacing (z, y, x) in mm of the image in `path`, from its header.
    ///
    /// # Errors
    /// As [`Self::read_channels`], except for what only the voxels can show.
    pub fn read_header(self, path: &Path) -> Result<(usize, [usize; 3], [f64; 3]), VolumeError> {
        let one = |(shape, spacing)| (1, shape, spacing);
        match self {
            Self::NaturalImage2d => {
                let (channels, shape) = natural_image::read_shape(path)?;
                Ok((channels, shape, PICTURE_SPACING))
            }
            Self::SimpleItk => {
                let (shape, geometry) = match ItkFormat::of(path)? {
                    ItkFormat::Nifti => nifti::read_geometry(path),
                    ItkFormat::Nrrd => nrrd::read_geometry(path),
                    ItkFormat::MetaImage => metaimage::read_geometry(path),
                }?;
                Ok((1, shape, geometry.spacing_zyx()))
            }
            Self::Tiff3d => tiff3d::read_shape_and_spacing(path, Naming::Channel).map(one),
            Self::Nibabel => nibabel::read_shape_and_spacing(path, false).map(one),
            Self::NibabelReoriented => nibabel::read_shape_and_spacing(path, true).map(one),
        }
    }

    /// Reads an image file of a case.
    pub fn read_channels(self, path: &Path) -> Result<ReadChannels, VolumeError> {
        let (geometry, _, warnings, data) = match self {
            Self::NaturalImage2d => {
                let image = natural_image::read(path)?;
                let warnings = image.warnings;
                return Ok(ReadChannels {
                    data: image.channels,
                    geometry: ImageGeometry::Spacing(PICTURE_SPACING),
                    warnings,
                });
            }
            Self::Tiff3d => from_tiff(tiff3d::read(path, Naming::Channel)?),
            _ => self.read_placed(path)?,
        };
        let shape = data.shape();
        match ChannelVolume::new(1, shape, data.into_data()) {
            Some(data) => Ok(ReadChannels { data, geometry, warnings }),
            None => unreachable!("a volume has as many voxels as its shape says"),
        }
    }

    /// Reads a segmentation.
    ///
    /// # Errors
    /// What the format does not allow; a picture in colours.
    pub fn read(self, path: &Path) -> Result<ReadImage, VolumeError> {
        let (geometry, stored_type, warnings, volume) = match self {
            Self::NaturalImage2d => {
                let image = natural_image::read(path)?;
                let (channels, shape) = (image.channels.channels(), image.channels.shape());
                let volume = Volume::new(shape, image.channels.into_data()).ok_or_else(|| {
                    VolumeError::Unsupported {
                        path: path.to_owned(),
                        found: format!("a segmentation of {channels} colours"),
                        expected: "one label per pixel",
                        advice: "Store the labels as a grey image.",
                    }
                })?;
                (ImageGeometry::Spacing(PICTURE_SPACING), image.stored_type, image.warnings, volume)
            }
            Self::Tiff3d => from_tiff(tiff3d::read(path, Naming::Segmentation)?),
            _ => self.read_placed(path)?,
        };
        Ok(ReadImage { volume, geometry, stored_type, warnings })
    }

    /// Reads a file of a format that knows where its image lies.
    fn read_placed(self, path: &Path) -> Result<Parts, VolumeError> {
        Ok(match self {
            Self::Nibabel => from_nibabel(nibabel::read(path)?, false),
            Self::NibabelReoriented => from_nibabel(nibabel::read_reoriented(path)?, true),
            _ => {
                let image = match ItkFormat::of(path)? {
                    ItkFormat::Nifti => nifti::read(path),
                    ItkFormat::Nrrd => nrrd::read(path),
                    ItkFormat::MetaImage => metaimage::read(path),
                }?;
                (ImageGeometry::Itk(image.geometry), image.stored_type, image.warnings, image.volume)
            }
        })
    }

    /// Writes a segmentation (z, y, x) with the geometry of an image that this reader read: u8 if every label
    /// is below 255, else u16.
    pub fn write_labels<L: Copy + Into<u32>>(
        self,
        path: &Path,
        labels: &Volume<L>,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError> {
        match (self, geometry) {
            (Self::NaturalImage2d, _) => natural_image::write_labels(path, labels),
            (Self::Tiff3d, _) => tiff3d::write_labels(path, labels, geometry.spacing_zyx()),
            (Self::SimpleItk, ImageGeometry::Itk(geometry)) => match ItkFormat::of(path)? {
                ItkFormat::Nifti => nifti::write_labels(path, labels, geometry),
                ItkFormat::Nrrd => nrrd::write_labels(path, labels, geometry),
                ItkFormat::MetaImage => metaimage::write_labels(path, labels, geometry),
            },
            (Self::Nibabel, ImageGeometry::Nibabel { original, .. }) => {
                nibabel::write_labels(path, labels, original)
            }
            (Self::NibabelReoriented, ImageGeometry::Nibabel { original, .. }) => {
                nibabel::write_labels_reoriented(path, labels, original)
            }
            _ => Err(VolumeError::Unsupported {
                path: path.to_owned(),
                found: format!("the geometry of another reader than {}", self.name()),
                expected: "properties made with the reader that the plans name",
                advice: "Preprocess the case again.",
            }),
        }
    }
}

/// The names of all readers, the one that `asked` resembles first.
fn by_resemblance(asked: &str) -> Vec<&'static str> {
    let mut names = READERS.each_ref().map(|known| known.name).to_vec();
    let closest = spelling::closest(asked, names.iter().copied());
    names.sort_by_key(|name| Some(*name) != closest);
    names
}

type Parts = (ImageGeometry, VoxelType, Vec<ImageWarning>, Volume<f32>);

fn from_tiff(image: Image) -> Parts {
    let geometry = ImageGeometry::Spacing(image.geometry.spacing_zyx());
    (geometry, image.stored_type, image.warnings, image.volume)
}

fn from_nibabel(image: NibabelImage, reoriented: bool) -> Parts {
    let geometry = ImageGeometry::Nibabel {
        spacing_zyx: image.spacing_zyx,
        original: image.original_affine,
        reoriented: reoriented.then_some(image.affine),
    };
    (geometry, image.stored_type, image.warnings, image.volume)
}

/// Formats that SimpleITK knows by their ending.
enum ItkFormat {
    Nifti,
    Nrrd,
    MetaImage,
}

impl ItkFormat {
    fn of(path: &Path) -> Result<Self, VolumeError> {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.as_deref().and_then(|ending| ending.to_str()) {
            _ if is_nifti(path) => Ok(Self::Nifti),
            Some("nrrd") => Ok(Self::Nrrd),
            Some("mha") => Ok(Self::MetaImage),
            _ => Err(VolumeError::Unsupported {
                path: path.to_owned(),
                found: "a file of this ending".into(),
                expected: ".nii.gz, .nii, .nrrd or .mha",
                advice: "Convert it to .nii.gz.",
            }),
        }
    }
}

fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.ends_with(".nii.gz") || name.ends_with(".nii")
}

/// NumPy's `allclose(found, expected)`: within 1e-8 + 1e-5 |expected|.
pub(crate) fn close(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-8 + 1e-5 * e.abs())
}

//! The readers of the reference: which one serves a dataset, and reading and writing single files with it.
//!
//! Each reader has its own conventions on geometry and on what a file may hold. dataset.json may name one
//! (`overwrite_image_reader_writer`); else it is the first that serves the file ending and can read an
//! example. From planning on the plans say which one it is.

mod format;
mod natural_image;
mod nibabel;
mod simple_itk;
mod tiff3d;

use std::path::Path;
use std::sync::Arc;

use nnunet_base::parts::Named;
use nnunet_image_io::{ImageWarning, StoredLabels};
use nnunet_volume::{SpacingMm, Volume, VolumeError};

use super::DatasetError;
use super::image_geometry::ImageGeometry;
use super::json::DatasetJson;

pub use format::{ImageFormat, ReadChannels, ReadImage, other_geometry};

/// Image formats by the names of their readers in the reference, in the order in which they are tried.
pub type ImageFormats = Named<Arc<dyn ImageFormat>>;

/// The formats that are built in.
pub fn image_formats() -> ImageFormats {
    let none: ImageFormats = Named::new("image reader");
    none.with("NaturalImage2DIO", "flat pictures: PNG, BMP, TIFF", Arc::new(natural_image::NaturalImage2d))
        .with("SimpleITKIO", "NIfTI, NRRD and MetaImage with ITK's geometry", Arc::new(simple_itk::SimpleItk))
        .with("Tiff3DIO", "volumes in TIFF, the spacing beside them", Arc::new(tiff3d::Tiff3d))
        .with("NibabelIO", "NIfTI with nibabel's affine", Arc::new(nibabel::Nibabel { reorient: false }))
        .with(
            "NibabelIOWithReorient",
            "the same, axes turned to right, anterior, superior",
            Arc::new(nibabel::Nibabel { reorient: true }),
        )
}

/// The ending of `path`, as it is written, if it is one of an image in whatever letter case: `.nii.gz`, `.NRRD`, ...
pub(super) fn image_ending(path: &Path) -> Option<&str> {
    /// Endings of the formats that are built in.
    const KNOWN: [&str; 8] = [".png", ".bmp", ".tif", ".tiff", ".nii", ".nii.gz", ".nrrd", ".mha"];
    let name = path.file_name()?.to_str()?;
    KNOWN
        .iter()
        .filter_map(|ending| {
            name.get(name.len().checked_sub(ending.len())?..).filter(|end| end.eq_ignore_ascii_case(ending))
        })
        .max_by_key(|end| end.len())
}

/// What stands for "none named" in a dataset.json, as in the reference.
const NOT_NAMED: &str = "None";

/// What reads and writes the images of a dataset: an image format with its name.
#[derive(Debug, Clone)]
pub struct ImageReader {
    name: String,
    format: Arc<dyn ImageFormat>,
}

impl PartialEq for ImageReader {
    /// Whether both have the same name.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl ImageReader {
    /// The reader for a dataset of which `example` is an image: the one that dataset.json names, else the
    /// first for the file ending that can read the example.
    ///
    /// If none can, it is the first for the file ending: it will say what is wrong with the file.
    ///
    /// # Errors
    /// An ending that no reader is for; a reader that is not known or does not read such files.
    pub fn for_example(
        formats: &ImageFormats,
        json: &DatasetJson,
        example: Option<&Path>,
    ) -> Result<Self, DatasetError> {
        let by_ending = Self::for_dataset(formats, json)?;
        if json.overwrite_image_reader_writer.as_deref().is_some_and(|name| name != NOT_NAMED) {
            return Ok(by_ending);
        }
        let Some(example) = example else { return Ok(by_ending) };
        let found = candidates(formats, &json.file_ending).find(|reader| reader.format.can_read(example));
        Ok(found.unwrap_or(by_ending))
    }

    /// The reader for a dataset: the one that dataset.json names, else the first for the file ending.
    ///
    /// # Errors
    /// As [`ImageReader::new`].
    pub fn for_dataset(formats: &ImageFormats, json: &DatasetJson) -> Result<Self, DatasetError> {
        Self::new(formats, json.overwrite_image_reader_writer.as_deref(), &json.file_ending, json.path())
    }

    /// The reader called `name`, for files of `file_ending`. `path` is the file that asks for the reader.
    ///
    /// # Errors
    /// An ending that no reader is for; a reader that does not read such files, or a name that is not known. The
    /// reference also refuses unknown names in plans; in a dataset.json it prints a line and lets the file ending
    /// decide, with which a typo or a reader of one's own ends in images read by other rules than intended.
    pub fn new(
        formats: &ImageFormats,
        name: Option<&str>,
        file_ending: &str,
        path: &Path,
    ) -> Result<Self, DatasetError> {
        let bad = |found: String, expected: String| DatasetError::BadValue {
            path: path.to_owned(),
            key: "image reader".into(),
            found,
            expected,
        };
        let Some(name) = name.filter(|name| *name != NOT_NAMED) else {
            return Self::from_file_ending(formats, file_ending, path);
        };
        let format = formats.get(name).map_err(|unknown| {
            let expected =
                format!("one of {}; readers written in Python cannot be used here", unknown.known.join(", "));
            bad(unknown.name, expected)
        })?;
        let ending = file_ending.to_ascii_lowercase();
        let endings = [format.endings(), format.also_reads()].concat();
        if !endings.contains(&ending.as_str()) {
            let expected = format!("files of {}", endings.join(", "));
            return Err(bad(format!("{name} for {file_ending}"), expected));
        }
        Ok(Self { name: name.to_owned(), format: format.clone() })
    }

    /// The first reader for a file ending such as `.nii.gz`; `path` is the file that asks for it.
    ///
    /// # Errors
    /// An ending that no reader is for.
    pub fn from_file_ending(formats: &ImageFormats, ending: &str, path: &Path) -> Result<Self, DatasetError> {
        candidates(formats, ending).next().ok_or_else(|| {
            let mut endings: Vec<_> =
                formats.iter().flat_map(|(_, _, format)| format.endings()).copied().collect();
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
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The format that it reads and writes.
    pub fn format(&self) -> &dyn ImageFormat {
        &*self.format
    }

    /// Whether a file that was read with these `warnings` may have voxels that are no numbers.
    pub(super) fn may_have_non_finite(&self, warnings: &[ImageWarning]) -> bool {
        let kept =
            |warning: &ImageWarning| matches!(warning, ImageWarning::NonFiniteVoxels { zeroed: false, .. });
        !self.format.counts_non_finite() || warnings.iter().any(kept)
    }

    /// As [`ImageFormat::read_header`].
    ///
    /// # Errors
    /// As there.
    pub fn read_header(&self, path: &Path) -> Result<(usize, [usize; 3], SpacingMm), VolumeError> {
        self.format.read_header(path)
    }

    /// As [`ImageFormat::read_channels`].
    ///
    /// # Errors
    /// As there.
    pub fn read_channels(&self, path: &Path) -> Result<ReadChannels, VolumeError> {
        self.format.read_channels(path)
    }

    /// As [`ImageFormat::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &Path) -> Result<ReadImage, VolumeError> {
        self.format.read(path)
    }

    /// Writes a segmentation (z, y, x) with the geometry of an image that this reader read: u8 if every label
    /// is below 255, else u16.
    ///
    /// # Errors
    /// As [`ImageFormat::write_labels`]; a label above 65535.
    pub fn write_labels<L: Copy + Into<u32>>(
        &self,
        path: &Path,
        labels: &Volume<L>,
        geometry: &ImageGeometry,
    ) -> Result<(), VolumeError> {
        self.format.write_labels(path, &StoredLabels::new(path, labels)?, geometry)
    }
}

/// The readers that may be chosen for a file ending, in order.
fn candidates<'a>(formats: &'a ImageFormats, ending: &str) -> impl Iterator<Item = ImageReader> + use<'a> {
    let ending = ending.to_ascii_lowercase();
    formats
        .iter()
        .filter(move |(_, _, format)| format.endings().contains(&ending.as_str()))
        .map(|(name, _, format)| ImageReader { name: name.to_owned(), format: format.clone() })
}

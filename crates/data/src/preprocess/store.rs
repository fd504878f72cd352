//! Preprocessed cases on disk, as the reference stores them.
//!
//! ```text
//! nnUNet_preprocessed/DatasetXXX/<data_identifier>/<case>.b2nd       f32 (c, z, y, x)
//!                                                  <case>_seg.b2nd   i16 (1, z, y, x)
//!                                                  <case>.pkl        properties
//! ```
//! Each file appears whole or not at all, the properties last: a case whose `.pkl` is there is complete.
//!
//! Cases that an older version stored as `.npz` are read too (`npy_store`), those that are there both ways
//! from `.b2nd`.

use std::path::{Path, PathBuf};

use nnunet_base::hint::Hint;
use nnunet_image_io::b2nd::{B2ndReader, Element, patch_layout, write_b2nd};
use nnunet_volume::{ChannelVolume, Volume};

use super::error::PreprocessError;
use super::npy_store::{FromElement, NpyArray};
use super::pipeline::PreprocessedCase;
use super::properties::Properties;

/// Paths of the three files of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFiles {
    /// `<case>.b2nd`
    pub data: PathBuf,
    /// `<case>_seg.b2nd`
    pub segmentation: PathBuf,
    /// `<case>.pkl`
    pub properties: PathBuf,
}

/// Formats of preprocessed cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFormat {
    /// `.b2nd`.
    Blosc2,
    /// `.npz`, that of older versions of nnU-Net.
    Archive,
}

impl CaseFiles {
    /// The files of `identifier` in the folder of a configuration.
    pub fn new(folder: &Path, identifier: &str) -> Self {
        Self {
            data: folder.join(format!("{identifier}.b2nd")),
            segmentation: folder.join(format!("{identifier}_seg.b2nd")),
            properties: folder.join(format!("{identifier}.pkl")),
        }
    }

    /// The case in the older format.
    fn archive(&self) -> PathBuf {
        self.data.with_extension("npz")
    }

    /// The format in which the case is there, if it is. Where it is in both, Blosc2 counts.
    pub fn format(&self) -> Option<StoredFormat> {
        if self.data.is_file() {
            Some(StoredFormat::Blosc2)
        } else {
            self.archive().is_file().then_some(StoredFormat::Archive)
        }
    }
}

/// Writes a case with its segmentation, laid out for reading patches of `patch_size` ((z, y, x), or
/// (y, x) for slices).
pub fn write_case(
    folder: &Path,
    identifier: &str,
    case: &PreprocessedCase,
    patch_size: &[usize],
) -> Result<(), PreprocessError> {
    let files = CaseFiles::new(folder, identifier);
    // A case that is being replaced is not complete until its new properties are there.
    match std::fs::remove_file(&files.properties) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(PreprocessError::io(&files.properties, "replace it", e));
        }
        _ => {}
    }
    let [z, y, x] = case.data.shape();
    write_array(&files.data, [case.data.channels(), z, y, x], case.data.data(), patch_size)?;
    if let Some(segmentation) = &case.segmentation {
        write_array(&files.segmentation, [1, z, y, x], segmentation.data(), patch_size)?;
    }
    case.properties.write(&files.properties)
}

fn write_array<T: Element>(
    path: &Path,
    shape: [usize; 4],
    data: &[T],
    patch_size: &[usize],
) -> Result<(), PreprocessError> {
    let layout = patch_layout(shape, patch_size, size_of::<T>()).ok_or_else(|| {
        let expected = format!("no empty axis, for patches of {patch_size:?}");
        PreprocessError::StoredShape { path: path.to_owned(), found: shape.to_vec(), expected }
    })?;
    Ok(write_b2nd(path, &shape, data, &layout)?)
}

/// Identifiers of the complete cases in a folder, sorted.
///
/// # Errors
/// A folder that cannot be listed. If it does not exist, the error says what to run.
pub fn stored_cases(folder: &Path) -> Result<Vec<String>, PreprocessError> {
    if !folder.exists() {
        return Err(not_preprocessed(folder));
    }
    let failed = |e| PreprocessError::io(folder, "list its preprocessed cases", e);
    let mut identifiers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(identifier) = name.to_str().and_then(|name| name.strip_suffix(".pkl")) else { continue };
        if CaseFiles::new(folder, identifier).format().is_some() {
            identifiers.push(identifier.to_owned());
        }
    }
    identifiers.sort();
    Ok(identifiers)
}

/// Why the folder of a configuration is not there.
fn not_preprocessed(folder: &Path) -> PreprocessError {
    let dataset = folder.parent().unwrap_or(Path::new(""));
    let mut there: Vec<String> = std::fs::read_dir(dataset)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "gt_segmentations")
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    PreprocessError::NotPreprocessed {
        folder: folder.to_owned(),
        there: if there.is_empty() { "nothing".to_owned() } else { there.join(", ") },
        hint: Hint::Preprocess {
            dataset: dataset.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        },
    }
}

/// A preprocessed case, its arrays opened but not read. Several threads may read from one.
#[derive(Debug)]
pub struct StoredCase {
    files: CaseFiles,
    shape: [usize; 3],
    channels: usize,
    data: StoredArray,
    segmentation: StoredArray,
}

/// An array of four axes, opened but not read.
#[derive(Debug)]
enum StoredArray {
    B2nd(B2ndReader, [usize; 4]),
    Npy(NpyArray),
}

impl StoredArray {
    fn open_b2nd(path: &Path) -> Result<Self, PreprocessError> {
        let reader = B2ndReader::open(path)?;
        let shape = reader.shape().try_into().map_err(|_| PreprocessError::StoredShape {
            path: path.to_owned(),
            found: reader.shape().to_vec(),
            expected: "(channels, z, y, x)".to_owned(),
        })?;
        Ok(Self::B2nd(reader, shape))
    }

    fn shape(&self) -> [usize; 4] {
        match self {
            Self::B2nd(_, shape) => *shape,
            Self::Npy(array) => array.shape(),
        }
    }

    /// Reads the box of `size` from `start`.
    fn read<T: Element + FromElement>(
        &self,
        start: [usize; 4],
        size: [usize; 4],
    ) -> Result<Vec<T>, PreprocessError> {
        match self {
            Self::B2nd(reader, _) => Ok(reader.read_region(&start, &size)?),
            Self::Npy(array) => array.read(start, size),
        }
    }

    /// Reads the box of `size` from `start` into `out`.
    fn read_into<T: Element + FromElement>(
        &self,
        start: [usize; 4],
        size: [usize; 4],
        out: &mut [T],
    ) -> Result<(), PreprocessError> {
        match self {
            Self::B2nd(reader, _) => Ok(reader.read_region_into(&start, &size, out)?),
            Self::Npy(array) => array.read_into(start, size, out),
        }
    }
}

impl StoredCase {
    /// Opens a case that has a segmentation. One in the older format is unpacked beside its archive, as the
    /// reference does before a training, unless it is unpacked already.
    pub fn open(folder: &Path, identifier: &str) -> Result<Self, PreprocessError> {
        let files = CaseFiles::new(folder, identifier);
        let archive = files.archive();
        let (data, segmentation) = if files.format() != Some(StoredFormat::Archive) {
            (StoredArray::open_b2nd(&files.data)?, StoredArray::open_b2nd(&files.segmentation)?)
        } else {
            let [data, segmentation] =
                [("data", &files.data), ("seg", &files.segmentation)].map(|(name, path)| {
                    NpyArray::open(&path.with_extension("npy"), &archive, name).map(StoredArray::Npy)
                });
            (data?, segmentation?)
        };
        let [channels, z, y, x] = data.shape();
        if segmentation.shape() != [1, z, y, x] {
            return Err(PreprocessError::StoredShape {
                path: files.segmentation,
                found: segmentation.shape().to_vec(),
                expected: format!("{:?}, that of the images", [1, z, y, x]),
            });
        }
        Ok(Self { files, shape: [z, y, x], channels, data, segmentation })
    }

    /// Spatial shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of image channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Reads the properties.
    pub fn properties(&self) -> Result<Properties, PreprocessError> {
        Properties::read(&self.files.properties)
    }

    /// Reads the images within a box: `start` (z, y, x) and `shape` (z, y, x), inside the image.
    pub fn read_data(
        &self,
        start: [usize; 3],
        shape: [usize; 3],
    ) -> Result<ChannelVolume<f32>, PreprocessError> {
        let data = self.data.read(with_channel(0, start), with_channel(self.channels, shape))?;
        match ChannelVolume::new(self.channels, shape, data) {
            Some(volume) => Ok(volume),
            None => unreachable!("the reader returns as many voxels as were asked for"),
        }
    }

    /// Reads the images within a box into `out` (c, z, y, x).
    pub fn read_data_into(
        &self,
        start: [usize; 3],
        shape: [usize; 3],
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        self.data.read_into(with_channel(0, start), with_channel(self.channels, shape), out)
    }

    /// Reads the segmentation within a box, -1 outside the nonzero mask.
    pub fn read_segmentation(
        &self,
        start: [usize; 3],
        shape: [usize; 3],
    ) -> Result<Volume<i16>, PreprocessError> {
        let data = self.segmentation.read(with_channel(0, start), with_channel(1, shape))?;
        match Volume::new(shape, data) {
            Some(volume) => Ok(volume),
            None => unreachable!("the reader returns as many voxels as were asked for"),
        }
    }

    /// Reads the segmentation within a box into `out` (z, y, x).
    pub fn read_segmentation_into(
        &self,
        start: [usize; 3],
        shape: [usize; 3],
        out: &mut [i16],
    ) -> Result<(), PreprocessError> {
        self.segmentation.read_into(with_channel(0, start), with_channel(1, shape), out)
    }
}

fn with_channel(channel: usize, [z, y, x]: [usize; 3]) -> [usize; 4] {
    [channel, z, y, x]
}

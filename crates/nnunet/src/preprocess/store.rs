//! Preprocessed cases on disk, as the reference stores them.
//!
//! ```text
//! nnUNet_preprocessed/DatasetXXX/<data_identifier>/<case>.b2nd       f32 (c, z, y, x)
//!                                                  <case>_seg.b2nd   i16 (1, z, y, x)
//!                                                  <case>.pkl        properties
//! ```
//! Each file appears whole or not at all, the properties last: a case whose `.pkl` is there is complete.

use std::path::{Path, PathBuf};

use nnunet_volume::formats::b2nd::{B2ndReader, patch_layout, write_b2nd};
use nnunet_volume::{ChannelVolume, Volume};

use super::error::PreprocessError;
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

impl CaseFiles {
    /// The files of `identifier` in the folder of a configuration.
    pub fn new(folder: &Path, identifier: &str) -> Self {
        Self {
            data: folder.join(format!("{identifier}.b2nd")),
            segmentation: folder.join(format!("{identifier}_seg.b2nd")),
            properties: folder.join(format!("{identifier}.pkl")),
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

fn write_array<T: nnunet_volume::formats::b2nd::Element>(
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
pub fn stored_cases(folder: &Path) -> Result<Vec<String>, PreprocessError> {
    let failed = |e| PreprocessError::io(folder, "list its preprocessed cases", e);
    let mut identifiers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(identifier) = name.to_str().and_then(|name| name.strip_suffix(".pkl")) else { continue };
        if CaseFiles::new(folder, identifier).data.exists() {
            identifiers.push(identifier.to_owned());
        }
    }
    identifiers.sort();
    Ok(identifiers)
}

/// A preprocessed case, its arrays opened but not read. Several threads may read from one.
#[derive(Debug)]
pub struct StoredCase {
    files: CaseFiles,
    shape: [usize; 3],
    channels: usize,
    data: B2ndReader,
    segmentation: B2ndReader,
}

impl StoredCase {
    /// Opens a case that has a segmentation.
    pub fn open(folder: &Path, identifier: &str) -> Result<Self, PreprocessError> {
        let files = CaseFiles::new(folder, identifier);
        let data = B2ndReader::open(&files.data)?;
        let segmentation = B2ndReader::open(&files.segmentation)?;
        let [channels, z, y, x] = *data.shape() else {
            return Err(PreprocessError::StoredShape {
                path: files.data,
                found: data.shape().to_vec(),
                expected: "(channels, z, y, x)".to_owned(),
            });
        };
        if *segmentation.shape() != [1, z, y, x] {
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
        let data = self.data.read_region(&with_channel(0, start), &with_channel(self.channels, shape))?;
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
        let (start, shape) = (with_channel(0, start), with_channel(self.channels, shape));
        Ok(self.data.read_region_into(&start, &shape, out)?)
    }

    /// Reads the segmentation within a box, -1 outside the nonzero mask.
    pub fn read_segmentation(
        &self,
        start: [usize; 3],
        shape: [usize; 3],
    ) -> Result<Volume<i16>, PreprocessError> {
        let data = self.segmentation.read_region(&with_channel(0, start), &with_channel(1, shape))?;
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
        Ok(self.segmentation.read_region_into(&with_channel(0, start), &with_channel(1, shape), out)?)
    }
}

fn with_channel(channel: usize, [z, y, x]: [usize; 3]) -> [usize; 4] {
    [channel, z, y, x]
}

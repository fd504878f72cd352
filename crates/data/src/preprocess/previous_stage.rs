//! Segmentations that a cascade's first stage leaves for the training of the next.
//!
//! ```text
//! <results>/<dataset>/<trainer>__<plans>__3d_lowres/predicted_next_stage/3d_cascade_fullres/<case>.b2nd
//! ```
//! Labels (z, y, x) on the preprocessed grid of the next stage, as the reference writes them: 8 bits with
//! fewer than 255 foreground labels, else 16. Where the next stage's cases are `.npz` archives, these are too, with the
//! array `seg`; it is unpacked to `<case>.npy` when it is first read.

use std::path::{Path, PathBuf};

use nnunet_image_io::b2nd::{B2ndReader, Layout, patch_layout, write_b2nd};
use nnunet_volume::Volume;

use super::error::PreprocessError;
use super::npy_store::NpyArray;
use super::store::StoredFormat;
use nnunet_pyformats::npy::{Element, write_npz};

/// The previous stage's segmentation of a preprocessed case, opened but not read.
#[derive(Debug)]
pub struct PreviousStage {
    labels: Labels,
}

#[derive(Debug)]
enum Labels {
    B2nd(B2ndReader),
    Npy(NpyArray),
}

/// The files that may hold the segmentation of a case: `.b2nd`, `.npz`, and what is unpacked from that.
fn files(folder: &Path, identifier: &str) -> [PathBuf; 3] {
    ["b2nd", "npz", "npy"].map(|ending| folder.join(format!("{identifier}.{ending}")))
}

impl PreviousStage {
    /// Whether there is a segmentation of `identifier`.
    pub fn exists(folder: &Path, identifier: &str) -> bool {
        files(folder, identifier).iter().any(|path| path.is_file())
    }

    /// Opens the segmentation of `identifier` for a case of `shape` (z, y, x).
    ///
    /// # Errors
    /// A missing or damaged file, or one of another shape.
    pub fn open(folder: &Path, identifier: &str, shape: [usize; 3]) -> Result<Self, PreprocessError> {
        let [b2nd, archive, unpacked] = files(folder, identifier);
        let (path, labels) = if b2nd.is_file() || !(archive.is_file() || unpacked.is_file()) {
            let labels = Labels::B2nd(B2ndReader::open(&b2nd)?);
            (b2nd, labels)
        } else {
            let labels = Labels::Npy(NpyArray::open_spatial(&unpacked, &archive, "seg")?);
            (archive, labels)
        };
        let found = match &labels {
            Labels::B2nd(file) => file.shape().to_vec(),
            Labels::Npy(array) => array.shape()[1..].to_vec(),
        };
        if found != shape {
            return Err(PreprocessError::StoredShape {
                path,
                found,
                expected: format!(
                    "{shape:?} (z, y, x) as the preprocessed case; validate the previous stage again"
                ),
            });
        }
        Ok(Self { labels })
    }

    /// Reads the labels within a box: `start` and `shape` (z, y, x), inside the case.
    pub fn read(&self, start: [usize; 3], shape: [usize; 3]) -> Result<Vec<i16>, PreprocessError> {
        match &self.labels {
            Labels::B2nd(file) => {
                let labels: Vec<i32> = file.read_region(&start, &shape)?;
                // Larger numbers are labels of no dataset.
                Ok(labels.into_iter().map(|label| i16::try_from(label).unwrap_or(i16::MAX)).collect())
            }
            Labels::Npy(array) => {
                let ([z, y, x], [depth, height, width]) = (start, shape);
                array.read([0, z, y, x], [1, depth, height, width])
            }
        }
    }
}

/// Writes the segmentation of `identifier` for the next stage, whose patches have `patch_size` and whose cases are stored
/// in `format`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_previous_stage(
    folder: &Path,
    identifier: &str,
    labels: &Volume<u16>,
    patch_size: &[usize],
    foreground_labels: usize,
    format: StoredFormat,
) -> Result<(), PreprocessError> {
    let [path, archive, unpacked] = files(folder, identifier);
    let shape = labels.shape();
    if format == StoredFormat::Archive {
        return write_archive(&archive, [&path, &unpacked], labels, foreground_labels);
    }
    let [z, y, x] = shape;
    let bytes = if foreground_labels < 255 { 1 } else { 2 };
    let layout = patch_layout([1, z, y, x], patch_size, bytes).ok_or_else(|| {
        let expected = format!("no empty axis, for patches of {patch_size:?}");
        PreprocessError::StoredShape { path: path.clone(), found: shape.to_vec(), expected }
    })?;
    let layout = Layout { chunk: layout.chunk[1..].to_vec(), block: layout.block[1..].to_vec() };
    std::fs::create_dir_all(folder).map_err(|e| PreprocessError::io(folder, "create it", e))?;
    if bytes == 1 {
        let narrow: Vec<u8> = labels.data().iter().map(|&label| label as u8).collect();
        write_b2nd(&path, &shape, &narrow, &layout)?;
    } else {
        write_b2nd(&path, &shape, labels.data(), &layout)?;
    }
    Ok(())
}

/// Writes the labels as an archive and removes the files that would be read instead of it.
fn write_archive(
    path: &Path,
    outdated: [&Path; 2],
    labels: &Volume<u16>,
    foreground_labels: usize,
) -> Result<(), PreprocessError> {
    let element = if foreground_labels < 255 { Element::U8 } else { Element::U16 };
    let written = write_npz(path, "seg", element, &labels.shape(), |archive| {
        let mut bytes = Vec::with_capacity(1 << 17);
        for values in labels.data().chunks(1 << 16) {
            bytes.clear();
            match element {
                Element::U8 => bytes.extend(values.iter().map(|&label| label as u8)),
                _ => bytes.extend(values.iter().flat_map(|label| label.to_le_bytes())),
            }
            archive.write_all(&bytes)?;
        }
        Ok(())
    });
    written.map_err(|e| PreprocessError::io(path, "write it", e))?;
    for file in outdated {
        match std::fs::remove_file(file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(PreprocessError::io(file, "remove it", e));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_in_boxes_and_other_shapes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for count in [2, 255] {
            let data: Vec<u16> = (0..4 * 5 * 6).map(|i| i % 3).collect();
            let labels = Volume::new([4, 5, 6], data.clone()).unwrap();
            write_previous_stage(folder.path(), "a", &labels, &[2, 4, 4], count, StoredFormat::Blosc2)
                .unwrap();
            let stored = PreviousStage::open(folder.path(), "a", [4, 5, 6]).unwrap();
            let all = stored.read([0; 3], [4, 5, 6]).unwrap();
            assert!(all.iter().zip(&data).all(|(a, b)| *a == *b as i16));
            assert_eq!(stored.read([1, 2, 3], [1, 1, 2]).unwrap(), all[30 + 12 + 3..][..2]);
        }
        assert!(PreviousStage::exists(folder.path(), "a") && !PreviousStage::exists(folder.path(), "b"));
        let error = PreviousStage::open(folder.path(), "a", [4, 5, 7]).unwrap_err().to_string();
        assert!(error.contains("[4, 5, 7]") && error.contains("previous stage"), "{error}");
        assert!(PreviousStage::open(folder.path(), "b", [4, 5, 6]).is_err());
    }

    #[test]
    fn archives_are_written_for_archives_and_read_as_they_are_now() {
        let folder = tempfile::tempdir().unwrap();
        let volume = |shift: u16| {
            let data = (0..4 * 5 * 6).map(|i| (i + shift) % 3).collect();
            Volume::new([4, 5, 6], data).unwrap()
        };
        let path = |ending: &str| folder.path().join(format!("a.{ending}"));
        let write = |labels: &Volume<u16>, count, format| {
            write_previous_stage(folder.path(), "a", labels, &[2, 4, 4], count, format).unwrap();
        };
        // Of another time: the archive takes its place.
        write(&volume(7), 2, StoredFormat::Blosc2);
        for (count, dtype) in [(2, "u1"), (255, "u2")] {
            let labels = volume(count as u16);
            write(&labels, count, StoredFormat::Archive);
            assert!(!path("b2nd").exists() && !path("npy").exists());
            let array = &nnunet_testkit::npy::read_npz(path("npz"))["seg"];
            assert_eq!((array.shape.as_slice(), array.dtype.as_str()), ([4, 5, 6].as_slice(), dtype));
            assert!(array.data.iter().zip(labels.data()).all(|(a, b)| *a == f64::from(*b)));
            let stored = PreviousStage::open(folder.path(), "a", [4, 5, 6]).unwrap();
            let all = stored.read([0; 3], [4, 5, 6]).unwrap();
            assert!(all.iter().zip(labels.data()).all(|(a, b)| i32::from(*a) == i32::from(*b)));
            assert_eq!(stored.read([1, 2, 3], [1, 1, 2]).unwrap(), all[30 + 12 + 3..][..2]);
            assert!(path("npy").is_file());
        }
        // Python writes the archive again and leaves what is unpacked.
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let unpacked = std::fs::read(path("npy")).unwrap();
        write(&volume(1), 2, StoredFormat::Archive);
        std::fs::write(path("npy"), unpacked).unwrap();
        std::fs::File::options().write(true).open(path("npy")).unwrap().set_modified(past).unwrap();
        let stored = PreviousStage::open(folder.path(), "a", [4, 5, 6]).unwrap();
        assert_eq!(stored.read([0; 3], [1, 1, 3]).unwrap(), [1, 2, 0]);
        // What is unpacked is enough, as for Python.
        std::fs::remove_file(path("npz")).unwrap();
        let stored = PreviousStage::open(folder.path(), "a", [4, 5, 6]).unwrap();
        assert_eq!(stored.read([0; 3], [1, 1, 3]).unwrap(), [1, 2, 0]);
        let error = PreviousStage::open(folder.path(), "a", [4, 5, 7]).unwrap_err().to_string();
        assert!(error.contains("[4, 5, 7]"), "{error}");
    }
}

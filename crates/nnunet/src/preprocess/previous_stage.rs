//! Segmentations that a cascade's first stage leaves for the training of the next.
//!
//! ```text
//! <results>/<dataset>/<trainer>__<plans>__3d_lowres/predicted_next_stage/3d_cascade_fullres/<case>.b2nd
//! ```
//! Labels (z, y, x) on the preprocessed grid of the next stage, as the reference writes them: 8 bits with
//! fewer than 255 foreground labels, else 16.

use std::path::Path;

use nnunet_volume::Volume;
use nnunet_volume::formats::b2nd::{B2ndReader, Layout, patch_layout, write_b2nd};

use super::error::PreprocessError;

/// The previous stage's segmentation of a preprocessed case, opened but not read.
#[derive(Debug)]
pub struct PreviousStage {
    file: B2ndReader,
}

impl PreviousStage {
    /// Opens the segmentation of `identifier` for a case of `shape` (z, y, x).
    ///
    /// # Errors
    /// A missing or damaged file, or one of another shape.
    pub fn open(folder: &Path, identifier: &str, shape: [usize; 3]) -> Result<Self, PreprocessError> {
        let path = folder.join(format!("{identifier}.b2nd"));
        let file = B2ndReader::open(&path)?;
        if *file.shape() != shape {
            return Err(PreprocessError::StoredShape {
                path,
                found: file.shape().to_vec(),
                expected: format!(
                    "{shape:?} (z, y, x) as the preprocessed case; validate the previous stage again"
                ),
            });
        }
        Ok(Self { file })
    }

    /// Reads the labels within a box: `start` and `shape` (z, y, x), inside the case.
    pub fn read(&self, start: [usize; 3], shape: [usize; 3]) -> Result<Vec<i16>, PreprocessError> {
        let labels: Vec<i32> = self.file.read_region(&start, &shape)?;
        // Larger numbers are labels of no dataset.
        Ok(labels.into_iter().map(|label| i16::try_from(label).unwrap_or(i16::MAX)).collect())
    }
}

/// Writes the segmentation of `identifier` for the next stage, whose patches have `patch_size`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_previous_stage(
    folder: &Path,
    identifier: &str,
    labels: &Volume<u16>,
    patch_size: &[usize],
    foreground_labels: usize,
) -> Result<(), PreprocessError> {
    let path = folder.join(format!("{identifier}.b2nd"));
    let shape = labels.shape();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_in_boxes_and_other_shapes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for count in [2, 255] {
            let data: Vec<u16> = (0..4 * 5 * 6).map(|i| i % 3).collect();
            let labels = Volume::new([4, 5, 6], data.clone()).unwrap();
            write_previous_stage(folder.path(), "a", &labels, &[2, 4, 4], count).unwrap();
            let stored = PreviousStage::open(folder.path(), "a", [4, 5, 6]).unwrap();
            let all = stored.read([0; 3], [4, 5, 6]).unwrap();
            assert!(all.iter().zip(&data).all(|(a, b)| *a == *b as i16));
            assert_eq!(stored.read([1, 2, 3], [1, 1, 2]).unwrap(), all[30 + 12 + 3..][..2]);
        }
        let error = PreviousStage::open(folder.path(), "a", [4, 5, 7]).unwrap_err().to_string();
        assert!(error.contains("[4, 5, 7]") && error.contains("previous stage"), "{error}");
        assert!(PreviousStage::open(folder.path(), "b", [4, 5, 6]).is_err());
    }
}

//! Reading the files of a case for a picture.

use std::path::{Path, PathBuf};

use nnunet_dataset::{DatasetJson, ImageFormats, ImageReader, ReadImage};
use nnunet_volume::Volume;

/// Reads images and segmentations of one dataset.
#[derive(Debug, Clone)]
pub(crate) struct Scans {
    reader: ImageReader,
    ending: String,
}

impl Scans {
    /// For the dataset of `json`, whose images have one of `formats`; without one, for the ending of `example`, a segmentation.
    pub(crate) fn new(
        formats: &ImageFormats,
        json: Option<&DatasetJson>,
        example: &Path,
    ) -> Result<Self, String> {
        if let Some(json) = json {
            let reader = ImageReader::for_example(formats, json, Some(example)).map_err(|e| e.to_string())?;
            return Ok(Self { reader, ending: json.file_ending.clone() });
        }
        let name = example.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let endings = formats.iter().flat_map(|(_, _, format)| format.endings());
        let ending = endings.filter(|ending| name.ends_with(**ending)).max_by_key(|ending| ending.len());
        let ending =
            ending.ok_or_else(|| format!("{}: its ending is none of an image", example.display()))?;
        let reader = ImageReader::from_file_ending(formats, ending, example).map_err(|e| e.to_string())?;
        Ok(Self { reader, ending: (*ending).to_owned() })
    }

    /// The case that a segmentation `CASE.nii.gz` is of.
    pub(crate) fn case_of(&self, segmentation: &Path) -> String {
        let name = segmentation.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix(self.ending.as_str()).unwrap_or(&name).to_owned()
    }

    /// The first channel of `case` in the folder `images`.
    pub(crate) fn first_channel(&self, images: &Path, case: &str) -> PathBuf {
        images.join(format!("{case}_0000{}", self.ending))
    }

    /// Reads a segmentation.
    pub(crate) fn labels(&self, path: &Path) -> Result<ReadImage, String> {
        self.reader.read(path).map_err(|error| error.to_string())
    }

    /// Reads the first channel in an image file.
    pub(crate) fn image(&self, path: &Path) -> Result<Volume<f32>, String> {
        let read = self.reader.read_channels(path).map_err(|error| error.to_string())?;
        let (shape, voxels) = (read.data.shape(), read.data.voxels());
        let mut data = read.data.into_data();
        data.truncate(voxels);
        Volume::new(shape, data).ok_or_else(|| format!("{}: has no channel", path.display()))
    }
}

//! Stored cases as the loader's sources.

use std::path::Path;
use std::sync::Arc;

use nnunet_volume::ChannelVolume;

use super::case_source::{CaseLayout, CaseSource, SourceError};
use super::sampler::ForegroundLocations;
use crate::augment::Sample;
use crate::dataset::{LabelManager, LabelOrRegion};
use crate::preprocess::{PreprocessError, StoredCase};

/// A case on disk whose patches are read one by one.
pub(super) struct StoredSource {
    identifier: String,
    case: StoredCase,
    foreground: Vec<LabelOrRegion>,
}

impl StoredSource {
    /// Opens the case `identifier` of a preprocessed configuration.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub(super) fn open(
        folder: &Path,
        identifier: &str,
        labels: &LabelManager,
    ) -> Result<Self, PreprocessError> {
        let case = StoredCase::open(folder, identifier)?;
        Ok(Self { identifier: identifier.to_owned(), case, foreground: labels.foreground() })
    }
}

impl CaseSource for StoredSource {
    fn identifier(&self) -> &str {
        &self.identifier
    }

    fn layout(&self) -> Result<CaseLayout, SourceError> {
        Ok(CaseLayout {
            shape: self.case.shape(),
            image_channels: self.case.channels(),
            segmentation_channels: 1,
        })
    }

    fn foreground_locations(&self) -> Result<Arc<ForegroundLocations>, SourceError> {
        let locations = self.case.properties()?.class_locations.unwrap_or_default();
        let mut found = ForegroundLocations { classes: Vec::new(), annotated: None };
        for (class, voxels) in locations.iter() {
            // The key that is no class of its own is the one of all annotated voxels.
            if self.foreground.contains(class) {
                found.classes.push(voxels.to_vec());
            } else {
                found.annotated = Some(voxels.to_vec());
            }
        }
        Ok(Arc::new(found))
    }

    fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        let image = self.case.read_data(start, size)?;
        let labels = self.case.read_segmentation(start, size)?;
        let segmentation = ChannelVolume::new(1, size, labels.into_data())
            .ok_or_else(|| SourceError::from("the segmentation has another size than asked for"))?;
        Ok(Sample { image, segmentation })
    }
}

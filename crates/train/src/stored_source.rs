//! Stored cases as the loader's sources.

use std::path::Path;
use std::sync::Arc;

use nnunet_volume::ChannelVolume;

use super::case_source::{CaseLayout, CaseSource, SourceError};
use super::sampler::ForegroundLocations;
use nnunet_augment::Sample;
use nnunet_data::preprocess::{PreprocessError, PreviousStage, StoredCase};
use nnunet_dataset::{DatasetJson, LabelManager, LabelOrRegion};

/// A case on disk whose patches are read one by one.
pub(super) struct StoredSource {
    identifier: String,
    case: StoredCase,
    /// In a cascade, the previous stage's segmentation.
    previous: Option<PreviousStage>,
    foreground: Vec<LabelOrRegion>,
    absent: Vec<usize>,
}

impl StoredSource {
    /// Opens the case `identifier` of a preprocessed configuration; in a cascade with its segmentation
    /// in the folder `previous`.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub(super) fn open(
        folder: &Path,
        previous: Option<&Path>,
        identifier: &str,
        dataset: &DatasetJson,
        labels: &LabelManager,
    ) -> Result<Self, PreprocessError> {
        let case = StoredCase::open(folder, identifier)?;
        let previous =
            previous.map(|folder| PreviousStage::open(folder, identifier, case.shape())).transpose()?;
        // Properties are large; only where something may be missing are they read before the first patch.
        let absent = match dataset.optional_channels.is_empty() {
            true => Vec::new(),
            false => case.properties()?.absent_channels,
        };
        Ok(Self {
            identifier: identifier.to_owned(),
            case,
            previous,
            foreground: labels.foreground(),
            absent,
        })
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
            segmentation_channels: 1 + usize::from(self.previous.is_some()),
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

    fn absent_channels(&self) -> Result<Vec<usize>, SourceError> {
        Ok(self.absent.clone())
    }

    fn read_box(&self, start: [usize; 3], size: [usize; 3]) -> Result<Sample, SourceError> {
        let image = self.case.read_data(start, size)?;
        let mut labels = self.case.read_segmentation(start, size)?.into_data();
        let mut channels = 1;
        if let Some(previous) = &self.previous {
            labels.extend(previous.read(start, size)?);
            channels += 1;
        }
        let segmentation = ChannelVolume::new(channels, size, labels)
            .ok_or_else(|| SourceError::from("the segmentation has another size than asked for"))?;
        Ok(Sample { image, segmentation })
    }
}

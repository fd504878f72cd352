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
    /// Of each output of the network, whether it was annotated; `None` for all.
    annotated: Option<Vec<bool>>,
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
        let (mut absent, mut annotated) = (Vec::new(), None);
        if !dataset.optional_channels.is_empty() || dataset.annotated_labels.is_some() {
            let properties = case.properties()?;
            absent = properties.absent_channels;
            let (found, expected) =
                (properties.annotated_labels.as_deref(), dataset.annotated_in(identifier));
            if found != expected {
                let shown =
                    |names: Option<&[String]>| names.map_or("all".to_owned(), |names| names.join(", "));
                return Err(PreprocessError::Annotated {
                    case: identifier.to_owned(),
                    found: shown(found),
                    expected: shown(expected),
                });
            }
            annotated = expected.map(|names| labels.annotated_outputs(names, dataset));
        }
        Ok(Self {
            identifier: identifier.to_owned(),
            case,
            previous,
            foreground: labels.foreground(),
            absent,
            annotated,
        })
    }
}

impl StoredSource {
    /// Whether the foreground class `number` was annotated. Outputs may have a background before these.
    fn is_annotated(&self, number: usize) -> bool {
        let Some(outputs) = &self.annotated else { return true };
        outputs[outputs.len() - self.foreground.len() + number]
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
            if let Some(number) = self.foreground.iter().position(|known| known == class) {
                // Patches are not drawn around what counts as background.
                if self.is_annotated(number) {
                    found.classes.push(voxels.to_vec());
                }
            } else {
                found.annotated = Some(voxels.to_vec());
            }
        }
        Ok(Arc::new(found))
    }

    fn annotated_classes(&self) -> Option<Vec<bool>> {
        self.annotated.clone()
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

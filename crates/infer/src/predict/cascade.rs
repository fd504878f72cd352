//! The second stage of a cascade: the previous stage's segmentation becomes input channels.
//!
//! The segmentation lies on the image's original grid and goes the way of the image: transposed, cropped,
//! resampled (as labels) to the network's grid, then one channel for each foreground label.

use std::path::{Path, PathBuf};

use super::cases::CaseSize;
use super::error::PredictError;
use super::memory::voxels;
use crate::model::ModelSpec;
use nnunet_base::hint::Hint;
use nnunet_base::progress::Progress;
use nnunet_data::plan::transposed;
use nnunet_data::preprocess::{
    PreprocessedCase, Preprocessor, RawCase, append_one_hot, memory_of_case, read_case, read_labels_of_case,
    warn_of_undeclared,
};
use nnunet_dataset::{Case, ImageReader};
use nnunet_volume::SpacingMm;

/// The folder beside `model` (`TRAINER__PLANS__CONFIGURATION`) in which the configuration `previous` of the
/// same training lies, whether it exists or not. `None` if the folder is not named that way.
pub fn previous_stage_model(model: &Path, previous: &str) -> Option<PathBuf> {
    // `.` and links have no name of their own.
    let model = std::fs::canonicalize(model).ok()?;
    let name = model.file_name()?.to_str()?;
    let (trainer_and_plans, _) = name.rsplit_once("__")?;
    Some(model.with_file_name(format!("{trainer_and_plans}__{previous}")))
}

/// Reads and preprocesses cases for a model, in a cascade with the previous stage's segmentation.
pub(super) struct CaseReader<'a> {
    spec: &'a ModelSpec,
    reader: ImageReader,
    preprocessor: Preprocessor<'a>,
    previous_stage: Option<&'a Path>,
    /// Whether properties say where the previous stage's segmentation has its classes.
    locate_classes: bool,
}

impl<'a> CaseReader<'a> {
    /// A reader of cases for `spec`; `locate_classes` adds to the properties of a cascade's cases where the previous
    /// stage's segmentation has its classes, as those beside saved probabilities have it.
    ///
    /// # Errors
    /// Plans that ask for something unknown; a cascade without `previous_stage`, the folder of its
    /// segmentations, or such a folder where there is no cascade.
    pub(super) fn new(
        spec: &'a ModelSpec,
        previous_stage: Option<&'a Path>,
        locate_classes: bool,
    ) -> Result<Self, PredictError> {
        let name = &spec.configuration.name;
        match (&spec.configuration.previous_stage, previous_stage) {
            (Some(previous), None) => {
                return Err(PredictError::NoPreviousStage {
                    configuration: name.clone(),
                    previous: previous.clone(),
                    hint: Hint::PredictPreviousStage { previous: previous.clone() },
                });
            }
            (None, Some(folder)) => {
                return Err(PredictError::NotACascade {
                    configuration: name.clone(),
                    folder: folder.to_owned(),
                    hint: Hint::NoPreviousStage,
                });
            }
            _ => {}
        }
        Ok(Self { previous_stage, locate_classes, ..Self::of_single_cases(spec)? })
    }

    /// A reader for cases that bring the previous stage's segmentation themselves, if they need one.
    pub(super) fn of_single_cases(spec: &'a ModelSpec) -> Result<Self, PredictError> {
        Ok(Self {
            spec,
            reader: spec.image_reader()?,
            preprocessor: Preprocessor::new(&spec.plans, &spec.configuration, &spec.parts)?,
            previous_stage: None,
            locate_classes: false,
        })
    }

    /// What reads the images.
    pub(super) fn reader(&self) -> &ImageReader {
        &self.reader
    }

    /// Checks that every case has its segmentation of the previous stage.
    pub(super) fn check(&self, cases: &[&Case]) -> Result<(), PredictError> {
        let Some(folder) = self.previous_stage else { return Ok(()) };
        let missing: Vec<&str> = cases
            .iter()
            .map(|case| case.identifier.as_str())
            .filter(|case| !self.segmentation_of(folder, case).is_file())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut names = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        if missing.len() > 5 {
            names.push_str(", ...");
        }
        Err(PredictError::PreviousStageCases {
            folder: folder.to_owned(),
            ending: self.spec.file_ending().to_owned(),
            missing: missing.len(),
            names,
        })
    }

    /// The network's input for a case.
    pub(super) fn read(
        &self,
        case: &Case,
        progress: &dyn Progress,
    ) -> Result<PreprocessedCase, PredictError> {
        let mut raw = read_case(&self.reader, case, progress)?;
        if let Some(folder) = self.previous_stage {
            let path = self.segmentation_of(folder, &case.identifier);
            let segmentation = read_labels_of_case(&self.reader, &path, case, &raw, progress)?;
            warn_of_undeclared(&path, &segmentation, &self.spec.labels, progress);
            raw.segmentation = Some(segmentation);
        }
        self.prepare(raw).map_err(|error| error.naming(&case.images))
    }

    /// The same as [`read`](Self::read) for a case in memory.
    pub(super) fn prepare(&self, raw: RawCase) -> Result<PreprocessedCase, PredictError> {
        let mut prepared = self.preprocessor.run(raw, self.locate_classes.then_some(&self.spec.labels))?;
        if let Some(segmentation) = prepared.segmentation.take() {
            let labels = self.spec.previous_stage_labels()?;
            prepared.data = append_one_hot(prepared.data, segmentation.data(), &labels);
        }
        Ok(prepared)
    }

    /// How large an image of `shape` and `spacing` (z, y, x) is with its axes transposed, if nothing is cropped.
    pub(super) fn size(&self, shape: [usize; 3], spacing: SpacingMm) -> Result<CaseSize, PredictError> {
        let order = self.spec.plans.transpose_forward();
        let image = transposed(shape, order);
        let on_network = self.preprocessor.output_shape(image, spacing.transposed(order))?;
        let channels = self.spec.input_channels() as u64;
        let preparation = memory_of_case(channels, voxels(image), voxels(on_network));
        Ok(CaseSize { image, on_network, next_stages: Vec::new(), preparation })
    }

    fn segmentation_of(&self, folder: &Path, case: &str) -> PathBuf {
        folder.join(format!("{case}{}", self.spec.file_ending()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_stage_lies_beside_the_model() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("Trainer__My__Plans__3d_cascade_fullres");
        std::fs::create_dir(&model).unwrap();
        let beside = previous_stage_model(&model, "3d_lowres").unwrap();
        assert!(beside.ends_with("Trainer__My__Plans__3d_lowres"), "{beside:?}");
        let model = root.path().join("model");
        std::fs::create_dir(&model).unwrap();
        assert_eq!(previous_stage_model(&model, "3d_lowres"), None);
    }
}

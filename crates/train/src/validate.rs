//! The validation at the end of a training: every validation case predicted whole, and evaluated. The
//! first stage of a cascade also leaves its segmentations for the training of the next.
//!
//! The prediction is that of any other images ([`Pipeline`]), but for where the cases come from: they are preprocessed
//! already.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nnunet_graph::backend::InferenceSession;

use super::error::TrainError;
use super::run_folder::RunFolder;
use nnunet_assess::evaluate::{Evaluator, Summary};
use nnunet_base::Ctx;
use nnunet_base::progress::Interrupted;
use nnunet_data::plan::Configuration;
use nnunet_data::preprocess::{CaseFiles, PreprocessError, PreviousStage, StoredCase, append_one_hot};
use nnunet_infer::model::ModelSpec;
use nnunet_infer::predict::{
    CaseSize, Cases, NextStage, Pipeline, PredictError, Predictor, PreparedCase, TooLarge, WindowOptions,
};

/// What is validated.
pub(super) struct Validation<'a> {
    /// The network.
    pub spec: &'a ModelSpec,
    /// Folder of the preprocessed dataset.
    pub preprocessed: &'a Path,
    /// In a cascade, folder of the previous stage's segmentations.
    pub previous_stage: Option<&'a Path>,
    /// Identifiers of the validation cases.
    pub cases: &'a [String],
    /// Folder of the reference segmentations.
    pub references: &'a Path,
    /// Where predictions and summary go.
    pub folder: &'a RunFolder,
    /// Whether to write probabilities too.
    pub save_probabilities: bool,
    /// Whether the weights are in a checkpoint too.
    pub has_checkpoint: bool,
}

impl Validation<'_> {
    /// Predicts all cases and writes `summary.json`. A case that fails does not stop the others.
    ///
    /// # Errors
    /// Cases that cannot be predicted, all of them named; outputs that cannot be written; interrupted.
    pub(super) fn run(
        &self,
        session: &mut dyn InferenceSession,
        ctx: Ctx<'_>,
    ) -> Result<Summary, TrainError> {
        let output = self.folder.validation();
        std::fs::create_dir_all(&output).map_err(|source| TrainError::Io { path: output.clone(), source })?;
        self.predict(&output, session, ctx)?;
        let ending = self.spec.file_ending();
        let pairs: Vec<_> = self
            .cases
            .iter()
            .map(|case| format!("{case}{ending}"))
            .map(|name| (self.references.join(&name), output.join(&name)))
            .collect();
        let reader = self.spec.image_reader()?;
        let labels = &self.spec.labels;
        let evaluator = Evaluator::new(reader, labels.foreground())
            .ignoring(labels.ignore_label())
            .of_annotated(&self.spec.dataset, labels, self.cases);
        let summary = match evaluator.evaluate(&pairs, ctx) {
            Err(_) if ctx.is_cancelled() => return Err(self.interrupted()),
            other => other?,
        };
        summary.save(&output.join("summary.json"))?;
        Ok(summary)
    }

    fn predict(
        &self,
        output: &Path,
        session: &mut dyn InferenceSession,
        ctx: Ctx<'_>,
    ) -> Result<(), TrainError> {
        let cases = StoredCases {
            spec: self.spec,
            folder: self.preprocessed.join(&self.spec.configuration.data_identifier),
            previous_stage: self.previous_stage,
            previous_stage_labels: self.spec.previous_stage_labels()?,
            identifiers: self.cases,
            next_stages: self.next_stages()?,
        };
        let pipeline = Pipeline {
            verb: "validate",
            output: output.to_owned(),
            save_probabilities: self.save_probabilities,
            reading_threads: 1,
            export_threads: 1,
            too_large: TooLarge::FailsAlone,
        };
        let spec = Arc::new(self.spec.clone());
        let mut predictor = Predictor::borrowing(spec, session, WindowOptions::default());
        match pipeline.run(&mut predictor, &cases, ctx) {
            Ok(_) => Ok(()),
            Err(PredictError::Interrupted(_)) => Err(self.interrupted()),
            Err(PredictError::Cases { faults, total, hint }) => {
                Err(TrainError::Validation { faults, total, hint })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn interrupted(&self) -> TrainError {
        TrainError::ValidationInterrupted { checkpoint: self.has_checkpoint, source: Interrupted }
    }

    /// The stages of a cascade that take these segmentations as input.
    fn next_stages(&self) -> Result<Vec<NextConfiguration>, TrainError> {
        let of = |name: &String| {
            let configuration = self.spec.plans.configuration(name)?;
            Ok(NextConfiguration {
                cases: self.preprocessed.join(&configuration.data_identifier),
                output: self.folder.next_stage(name),
                configuration,
            })
        };
        self.spec.configuration.next_stage.iter().map(of).collect()
    }
}

/// A stage of a cascade that takes the segmentations of this one as input.
struct NextConfiguration {
    configuration: Configuration,
    /// Folder of its preprocessed cases.
    cases: PathBuf,
    /// Where the segmentations go.
    output: PathBuf,
}

/// Preprocessed cases of a dataset.
struct StoredCases<'a> {
    spec: &'a ModelSpec,
    /// Their folder.
    folder: PathBuf,
    /// In a cascade, the folder of the previous stage's segmentations.
    previous_stage: Option<&'a Path>,
    previous_stage_labels: Vec<i16>,
    identifiers: &'a [String],
    next_stages: Vec<NextConfiguration>,
}

impl StoredCases<'_> {
    /// What the next stages take of `case`. With those that are not preprocessed in `missing`.
    fn next_stages(&self, case: &str) -> Result<(Vec<NextStage>, Vec<&NextConfiguration>), PreprocessError> {
        let (mut present, mut missing) = (Vec::new(), Vec::new());
        for next in &self.next_stages {
            let Some(format) = CaseFiles::new(&next.cases, case).format() else {
                missing.push(next);
                continue;
            };
            present.push(NextStage {
                folder: next.output.clone(),
                shape: StoredCase::open(&next.cases, case)?.shape(),
                patch_size: next.configuration.patch_size.clone(),
                foreground_labels: self.spec.labels.foreground_labels().len(),
                format,
            });
        }
        Ok((present, missing))
    }
}

impl Cases for StoredCases<'_> {
    fn count(&self) -> usize {
        self.identifiers.len()
    }

    fn identifier(&self, case: usize) -> &str {
        &self.identifiers[case]
    }

    fn size(&self, case: usize) -> Option<CaseSize> {
        let identifier = self.identifier(case);
        let stored = StoredCase::open(&self.folder, identifier).ok()?;
        let (next_stages, _) = self.next_stages(identifier).ok()?;
        let on_network = stored.shape();
        // In a cascade the image is copied beside the channels of the previous stage.
        let copies = if self.previous_stage.is_some() { 2 } else { 1 };
        let values = on_network.iter().product::<usize>() * self.spec.input_channels() * copies;
        Some(CaseSize {
            image: stored.properties().ok()?.shape_before_cropping,
            on_network,
            next_stages: next_stages.iter().map(|next| next.shape).collect(),
            preparation: (values * size_of::<f32>()) as u64,
        })
    }

    fn read(&self, case: usize, ctx: Ctx<'_>) -> Result<PreparedCase, PredictError> {
        let identifier = self.identifier(case);
        let stored = StoredCase::open(&self.folder, identifier)?;
        let shape = stored.shape();
        let mut data = stored.read_data([0; 3], shape)?;
        if let Some(previous) = self.previous_stage {
            let segmentation = PreviousStage::open(previous, identifier, shape)?.read([0; 3], shape)?;
            data = append_one_hot(data, &segmentation, &self.previous_stage_labels);
        }
        let (next_stages, missing) = self.next_stages(identifier)?;
        for next in missing {
            let name = &next.configuration.name;
            ctx.warning(&format!(
                "{}: missing, so no segmentation of case {identifier} was written for the training of {name}; preprocess {name} \
                 and run this validation again",
                CaseFiles::new(&next.cases, identifier).data.display(),
            ));
        }
        Ok(PreparedCase { data, properties: stored.properties()?, next_stages })
    }
}

//! The validation at the end of a training: every validation case predicted whole, and evaluated. The
//! first stage of a cascade also leaves its segmentations for the training of the next.

use std::path::Path;

use half::f16;
use nnunet_graph::Graph;
use nnunet_graph::backend::InferenceSession;
use nnunet_volume::ChannelVolume;

use super::error::TrainError;
use super::run_folder::RunFolder;
use nnunet_assess::evaluate::{Evaluator, Summary};
use nnunet_base::Ctx;
use nnunet_base::memory::{MemoryLimit, gigabytes};
use nnunet_base::one_case::named_case;
use nnunet_base::progress::{Event, Progress};
use nnunet_data::dataset::{DatasetJson, ImageReader, LabelManager};
use nnunet_data::plan::{Configuration, Plans};
use nnunet_data::preprocess::{
    CaseFiles, PreviousStage, Properties, StoredCase, append_one_hot, write_previous_stage,
};
use nnunet_infer::model::previous_stage_labels;
use nnunet_infer::predict::sliding_window::{Single, SlidingWindow};
use nnunet_infer::predict::{Exporter, PredictError, WindowOptions, window_for, write_prediction};

/// What is validated.
pub(super) struct Validation<'a> {
    /// The plans.
    pub plans: &'a Plans,
    /// The configuration.
    pub configuration: &'a Configuration,
    /// The dataset.
    pub dataset: &'a DatasetJson,
    /// Its labels.
    pub labels: &'a LabelManager,
    /// The network.
    pub graph: &'a Graph,
    /// Axes of the patch for test-time mirroring.
    pub mirroring_axes: &'a [usize],
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
    /// Limit of memory that the user gave.
    pub max_ram: Option<u64>,
    /// Whether the weights are in a checkpoint too.
    pub has_checkpoint: bool,
}

impl Validation<'_> {
    /// Predicts all cases and writes `summary.json`. A case that fails does not stop the others.
    ///
    /// # Errors
    /// Cases that cannot be predicted, all of them named; outputs that cannot be written; `cancel`.
    pub(super) fn run(
        &self,
        session: &mut dyn InferenceSession,
        ctx: Ctx<'_>,
    ) -> Result<Summary, TrainError> {
        let output = self.folder.validation();
        std::fs::create_dir_all(&output).map_err(|source| TrainError::Io { path: output.clone(), source })?;
        let next_stages = self.next_stages()?;
        let stage = format!("validate {}", self.configuration.name);
        ctx.event(Event::Started { stage: &stage, total: self.cases.len() as u64 });
        let mut faults = Vec::new();
        for (i, case) in self.cases.iter().enumerate() {
            let mut panicked = true;
            let result = named_case(format_args!("case {case}"), || {
                let result = self.predict(case, &next_stages, session, ctx);
                panicked = false;
                result.map_err(|error| format!("case {case}: {error}"))
            });
            if ctx.is_cancelled() {
                return Err(self.interrupted());
            }
            if let Err(fault) = result {
                faults.push(fault);
            }
            if panicked {
                // The session may lack the memory that was in use.
                faults.extend(self.cases[i + 1..].iter().map(|case| format!("case {case}: not predicted")));
                break;
            }
            ctx.event(Event::Advanced { done: i as u64 + 1, detail: case });
        }
        ctx.event(Event::Finished);
        if !faults.is_empty() {
            return Err(TrainError::Validation { faults, total: self.cases.len() });
        }
        let ending = &self.dataset.file_ending;
        let pairs: Vec<_> = self
            .cases
            .iter()
            .map(|case| format!("{case}{ending}"))
            .map(|name| (self.references.join(&name), output.join(&name)))
            .collect();
        let name = self.plans.image_reader_writer();
        let reader = ImageReader::new(Some(name), ending, self.dataset.path())?;
        let evaluator = Evaluator::new(reader, self.labels.foreground()).ignoring(self.labels.ignore_label());
        let summary = evaluator.evaluate(&pairs, ctx);
        let summary = match summary {
            Err(_) if ctx.is_cancelled() => return Err(self.interrupted()),
            other => other?,
        };
        summary.save(&output.join("summary.json"))?;
        Ok(summary)
    }

    fn interrupted(&self) -> TrainError {
        TrainError::ValidationInterrupted { checkpoint: self.has_checkpoint }
    }

    fn next_stages(&self) -> Result<Vec<Configuration>, TrainError> {
        Ok(self
            .configuration
            .next_stage
            .iter()
            .map(|name| self.plans.configuration(name))
            .collect::<Result<_, _>>()?)
    }

    fn predict(
        &self,
        case: &str,
        next_stages: &[Configuration],
        session: &mut dyn InferenceSession,
        ctx: Ctx<'_>,
    ) -> Result<(), PredictError> {
        let folder = self.preprocessed.join(&self.configuration.data_identifier);
        let stored = StoredCase::open(&folder, case)?;
        let shape = stored.shape();
        let window = window_for(self.configuration, self.mirroring_axes, WindowOptions::default());
        self.check_memory(session, &window, shape)?;
        let mut image = stored.read_data([0; 3], shape)?;
        if let Some(previous) = self.previous_stage {
            let segmentation = PreviousStage::open(previous, case, shape)?.read([0; 3], shape)?;
            image = append_one_hot(image, &segmentation, &previous_stage_labels(self.labels)?);
        }
        let logits = window.whole(&mut Single(session), &image, ctx.cancel, &mut |_| ())?;
        let exporter = Exporter::new(self.plans, self.configuration, self.labels);
        let properties = stored.properties()?;
        write_prediction(
            &exporter,
            &logits,
            &properties,
            &self.folder.validation().join(case),
            &self.dataset.file_ending,
            self.save_probabilities,
        )?;
        for next in next_stages {
            self.leave_for(next, case, &exporter, &logits, &properties, ctx.progress)?;
        }
        Ok(())
    }

    /// Checks that the image (z, y, x) and the logits of all its voxels can be held.
    fn check_memory(
        &self,
        session: &dyn InferenceSession,
        window: &SlidingWindow,
        shape: [usize; 3],
    ) -> Result<(), PredictError> {
        let [z, y, x] = window.tile;
        let channels = self.graph.input_channels();
        let pass = session.memory([window.batch, channels, z, y, x])?;
        let heads = self.labels.num_segmentation_heads();
        let voxels = shape.iter().fold(1u64, |all, &edge| all.saturating_mul(edge as u64));
        let need = (pass.total() as u64)
            .saturating_add(voxels.saturating_mul((4 * channels + 2 * heads) as u64))
            .saturating_add(window.memory(shape, heads, 1));
        let limit = MemoryLimit::new(self.max_ram);
        match limit.excludes(need) {
            true => Err(limit.error(format!("it needs {}", gigabytes(need)), "").into()),
            false => Ok(()),
        }
    }

    /// Writes the segmentation on the preprocessed grid of the cascade's next stage.
    fn leave_for(
        &self,
        next: &Configuration,
        case: &str,
        exporter: &Exporter<'_>,
        logits: &ChannelVolume<f16>,
        properties: &Properties,
        progress: &dyn Progress,
    ) -> Result<(), PredictError> {
        let folder = self.preprocessed.join(&next.data_identifier);
        let files = CaseFiles::new(&folder, case);
        let Some(format) = files.format() else {
            let text = format!(
                "{}: not there, so nothing is left for the training of {} on case {case}; preprocess {} and run \
                 this validation again (train ... --val)",
                files.data.display(),
                next.name,
                next.name
            );
            progress.event(Event::Warning(&text));
            return Ok(());
        };
        let shape = StoredCase::open(&folder, case)?.shape();
        let labels = exporter.segmentation_for_next_stage(logits, properties, shape)?;
        let count = self.labels.foreground_labels().len();
        let folder = self.folder.next_stage(&next.name);
        Ok(write_previous_stage(&folder, case, &labels, &next.patch_size, count, format)?)
    }
}

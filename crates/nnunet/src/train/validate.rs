//! The validation at the end of a training: every validation case predicted whole, and evaluated.

use std::path::Path;

use nnunet_network::CpuExecutor;

use super::error::TrainError;
use crate::dataset::{DatasetJson, ImageReader, LabelManager};
use crate::evaluate::Summary;
use crate::evaluate::folder::evaluate_pairs;
use crate::plan::{Configuration, Plans};
use crate::predict::{Exporter, PredictError, WindowOptions, window_for, write_prediction};
use crate::preprocess::StoredCase;
use crate::progress::{Cancel, Event, Progress};

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
    /// Axes of the patch for test-time mirroring.
    pub mirroring_axes: &'a [usize],
    /// Folder of the preprocessed cases.
    pub cases_folder: &'a Path,
    /// Identifiers of the validation cases.
    pub cases: &'a [String],
    /// Folder of the reference segmentations.
    pub references: &'a Path,
    /// Where predictions and summary go.
    pub output: &'a Path,
    /// Whether to write probabilities too.
    pub save_probabilities: bool,
}

impl Validation<'_> {
    /// Predicts all cases and writes `summary.json`.
    pub(super) fn run(
        &self,
        executor: &mut CpuExecutor,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Summary, TrainError> {
        std::fs::create_dir_all(self.output)
            .map_err(|source| TrainError::Io { path: self.output.to_owned(), source })?;
        let stage = format!("validate {}", self.configuration.name);
        progress.event(Event::Started { stage: &stage, total: self.cases.len() as u64 });
        for (i, case) in self.cases.iter().enumerate() {
            self.predict(case, executor, cancel)
                .map_err(|source| TrainError::Validation { case: case.clone(), source: Box::new(source) })?;
            progress.event(Event::Advanced { done: i as u64 + 1, detail: case });
        }
        progress.event(Event::Finished);
        let ending = &self.dataset.file_ending;
        let pairs: Vec<_> = self
            .cases
            .iter()
            .map(|case| format!("{case}{ending}"))
            .map(|name| (self.references.join(&name), self.output.join(&name)))
            .collect();
        let reader = ImageReader::for_dataset(self.dataset)?;
        let (classes, ignore) = (self.labels.foreground(), self.labels.ignore_label());
        let summary = evaluate_pairs(&pairs, reader, &classes, ignore, progress, cancel)?;
        summary.save(&self.output.join("summary.json"))?;
        Ok(summary)
    }

    fn predict(&self, case: &str, executor: &mut CpuExecutor, cancel: &Cancel) -> Result<(), PredictError> {
        let stored = StoredCase::open(self.cases_folder, case)?;
        let image = stored.read_data([0; 3], stored.shape())?;
        let window = window_for(self.configuration, self.mirroring_axes, WindowOptions::default());
        let mut accumulator = window.accumulator(image.shape());
        window.accumulate(executor, &image, &mut accumulator, cancel, |_| ())?;
        let Some(logits) = accumulator.finish() else { return Ok(()) };
        write_prediction(
            &Exporter::new(self.plans, self.configuration, self.labels),
            &logits,
            &stored.properties()?,
            &self.output.join(case),
            &self.dataset.file_ending,
            self.save_probabilities,
        )
    }
}

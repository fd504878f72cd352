//! Evaluation of a folder of predictions against a folder of reference segmentations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::metric::Metric;
use super::summary::Summary;
use super::{EvaluateError, Evaluator};
use nnunet_base::Ctx;
use nnunet_base::hint::Hint;
use nnunet_data::Parts;
use nnunet_dataset::cases::files_with_ending;
use nnunet_dataset::reader::ImageReader;
use nnunet_dataset::{DatasetJson, ImageFormats, LabelManager, LabelOrRegion};
use nnunet_pyformats::json::Json;

/// What to do about reference segmentations without a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Refuse to evaluate.
    Refused,
    /// Evaluate what is there (`--chill`).
    Tolerated,
}

/// An evaluation as `nnUNetv2_evaluate_folder` takes it.
#[derive(Debug, Clone)]
pub struct FolderEvaluation {
    /// Folder of reference segmentations.
    pub reference: PathBuf,
    /// Folder of predictions.
    pub prediction: PathBuf,
    /// Where to write the summary; `summary.json` beside the predictions if not given.
    pub output: Option<PathBuf>,
    /// What to do about missing predictions.
    pub missing: Missing,
    /// Metrics beyond the reference's.
    pub metrics: Vec<Arc<dyn Metric>>,
}

impl FolderEvaluation {
    /// Every reference segmentation in `reference` against the prediction of its name, with the reference's metrics.
    pub fn new(reference: impl Into<PathBuf>, prediction: impl Into<PathBuf>) -> Self {
        Self {
            reference: reference.into(),
            prediction: prediction.into(),
            output: None,
            missing: Missing::Refused,
            metrics: Vec::new(),
        }
    }

    /// Where the summary is written.
    pub fn summary_file(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.prediction.join("summary.json"))
    }

    /// Evaluates the foreground labels or regions of a dataset, whose image format and label manager are among `parts`; writes
    /// nothing.
    ///
    /// # Errors
    /// See [`EvaluateError`]; all cases that cannot be read or do not fit are named at once.
    pub fn of_dataset(
        &self,
        dataset_json: &Path,
        plans: &Path,
        parts: &Parts,
        ctx: Ctx<'_>,
    ) -> Result<Summary, EvaluateError> {
        let json = DatasetJson::load(dataset_json)?;
        let manager = Json::load(plans)?.get("label_manager").cloned();
        let labels = LabelManager::named(&parts.label_managers, manager.as_ref(), plans, &json)?;
        let references = files_with_ending(&self.reference, &json.file_ending)?;
        let example = references.first().map(PathBuf::as_path);
        let reader = ImageReader::for_example(&parts.formats, &json, example)?;
        let stem = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            name.strip_suffix(&json.file_ending).map(str::to_owned)
        };
        let cases: Vec<String> = references.iter().filter_map(stem).collect();
        let evaluator = Evaluator::new(reader, labels.foreground())
            .ignoring(labels.ignore_label())
            .of_annotated(&json, &labels, &cases);
        self.run(evaluator, &json.file_ending, ctx)
    }

    /// Evaluates the given labels (`nnUNetv2_evaluate_simple`); writes nothing. The file ending is that of the first
    /// reference segmentation.
    ///
    /// # Errors
    /// As [`FolderEvaluation::of_dataset`].
    pub fn of_labels(
        &self,
        labels: &[i32],
        ignore_label: Option<i32>,
        formats: &ImageFormats,
        ctx: Ctx<'_>,
    ) -> Result<Summary, EvaluateError> {
        let mut classes: Vec<LabelOrRegion> = Vec::new();
        for &label in labels {
            if !classes.contains(&LabelOrRegion::Label(label)) {
                classes.push(LabelOrRegion::Label(label));
            }
        }
        let all = files_with_ending(&self.reference, "")?;
        let first = all.first().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
        // `.nii.gz` has two dots; of other names the last part counts.
        let ending = [".nii.gz", ".nii"].into_iter().find(|e| first.ends_with(e)).map_or_else(
            || first.rfind('.').map_or(String::new(), |dot| first[dot..].to_owned()),
            str::to_owned,
        );
        if ending.is_empty() {
            return Err(EvaluateError::NoFiles {
                path: self.reference.clone(),
                file_ending: "a known ending".into(),
            });
        }
        let reader = ImageReader::from_file_ending(formats, &ending, &all[0])?;
        self.run(Evaluator::new(reader, classes).ignoring(ignore_label), &ending, ctx)
    }

    fn run(&self, evaluator: Evaluator, file_ending: &str, ctx: Ctx<'_>) -> Result<Summary, EvaluateError> {
        let pairs = self.pairs(file_ending)?;
        evaluator.with_metrics(self.metrics.clone()).evaluate_within_limit(&pairs, ctx)
    }

    /// Reference and prediction of every case.
    fn pairs(&self, file_ending: &str) -> Result<Vec<(PathBuf, PathBuf)>, EvaluateError> {
        let predictions = files_with_ending(&self.prediction, file_ending)?;
        let references = files_with_ending(&self.reference, file_ending)?;
        if self.missing == Missing::Refused {
            let absent: Vec<String> = references
                .iter()
                .filter_map(|path| path.file_name())
                .filter(|name| !self.prediction.join(name).is_file())
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            if !absent.is_empty() {
                return Err(EvaluateError::MissingPredictions {
                    path: self.prediction.clone(),
                    count: absent.len(),
                    total: references.len(),
                    names: absent[..absent.len().min(10)].join(", "),
                    hint: Hint::EvaluatePresent,
                });
            }
        }
        if predictions.is_empty() {
            let path = self.prediction.clone();
            return Err(EvaluateError::NoFiles { path, file_ending: file_ending.to_owned() });
        }
        let reference = |prediction: &Path| self.reference.join(prediction.file_name().unwrap_or_default());
        Ok(predictions.into_iter().map(|prediction| (reference(&prediction), prediction)).collect())
    }
}

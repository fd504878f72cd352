//! Why a verb of a [`Project`](crate::Project) failed.

use std::io;
use std::path::PathBuf;

use nnunet_assess::evaluate::{EvaluateError, MetricError};
use nnunet_assess::overlay::OverlayError;
use nnunet_assess::postprocess::PostprocessError;
use nnunet_assess::volumetry::VolumetryError;
use nnunet_base::progress::Interrupted;
use nnunet_data::fingerprint::FingerprintError;
use nnunet_data::plan::PlanError;
use nnunet_data::preprocess::PreprocessError;
use nnunet_dataset::DatasetError;
use nnunet_dataset::convert::ConvertError;
use nnunet_infer::ensemble::EnsembleError;
use nnunet_infer::model_store::StoreError;
use nnunet_infer::predict::PredictError;
use nnunet_pyformats::json::JsonError;
use nnunet_recipe::{RecipeError, UnknownTrainer};
use nnunet_report::ReportError;
use nnunet_train::TrainError;

use crate::backend::DeviceError;
use crate::compare::CompareError;
use crate::experiment::ExperimentError;
use crate::missing_patterns::PatternError;
use crate::select::SelectError;
use crate::submit::SubmitError;

/// Errors of all verbs: those of the stages, and what the verbs add.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error with what was being done.
    #[error("{what}: {source}")]
    During {
        /// What was being done, e.g. `preprocessing of Dataset004_Hippocampus`.
        what: String,
        /// What went wrong with it.
        source: Box<Self>,
    },
    /// A folder of results that cannot be written to, asked before the work and not after it.
    #[error("{path}: files cannot be written to this folder: {source}", path = path.display())]
    UnwritableFolder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of results that cannot be written.
    #[error("{path}: this file cannot be written: {source}", path = path.display())]
    UnwritableFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A dataset with faults that forbid its use.
    #[error(
        "{folder}: {repaired}{errors} faults and {warnings} warnings in {cases} cases; repair the faults listed above",
        folder = folder.display(),
        repaired = if *repaired == 0 { String::new() } else { format!("{repaired} repaired, ") }
    )]
    Faults {
        /// The dataset's folder.
        folder: PathBuf,
        /// Number of cases.
        cases: usize,
        /// Faults that were repaired.
        repaired: usize,
        /// Faults that are left.
        errors: usize,
        /// Warnings that are left.
        warnings: usize,
    },
    /// The check of a dataset was stopped.
    #[error("{folder}: interrupted before all cases were checked", folder = folder.display())]
    CheckInterrupted {
        /// The dataset's folder.
        folder: PathBuf,
        /// Somebody asked to stop.
        source: Interrupted,
    },
    /// A trainer that is neither known nor left its recipe beside results.
    #[error(transparent)]
    Trainer(#[from] UnknownTrainer),
    /// A file that is no recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A device that cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Datasets and the folders they are in.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Conversion of other layouts.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The file of a merge.
    #[error(transparent)]
    MergeFile(#[from] crate::project::MergeFileError),
    /// Volumes as measurements.
    #[error(transparent)]
    Volumetry(#[from] VolumetryError),
    /// Fingerprints.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// Plans.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Preprocessing.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Prediction.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Ensembles.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// The choice of metrics.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Evaluation.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Postprocessing.
    #[error(transparent)]
    Postprocess(#[from] PostprocessError),
    /// The choice of the best model.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Trained models side by side.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A recipe and its variants.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// Jobs for a cluster or for this machine.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Archives and lists of models.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Pictures of cases.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// Reports.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Patterns of missing channels.
    #[error(transparent)]
    Patterns(#[from] PatternError),
    /// A JSON file of the results.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A file of the results.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// The error itself, without what was being done.
    pub fn root(&self) -> &Self {
        match self {
            Self::During { source, .. } => source.root(),
            other => other,
        }
    }
}

/// Says what was being done when something went wrong.
pub(crate) trait During<T> {
    /// The result, with `what` in front of its error.
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<Error>> During<T> for Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::During { what: what(), source: Box::new(source.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_being_done_and_keep_their_type() {
        let inner = Err::<(), _>(EvaluateError::Interrupted(Interrupted));
        let error = inner.during(|| "evaluation of x".to_owned()).during(|| "demo".to_owned()).unwrap_err();
        assert!(error.to_string().starts_with("demo: evaluation of x: "), "{error}");
        assert!(matches!(error.root(), Error::Evaluate(EvaluateError::Interrupted(_))));
        assert!(Interrupted::caused(&error));
    }
}

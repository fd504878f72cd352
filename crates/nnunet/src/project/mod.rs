//! nnU-Net's verbs on one set of folders: a function each, from a typed request to a typed outcome.
//!
//! ```no_run
//! use nnunet::{Ctx, Folders, PlanAndPreprocessJob, PredictJob, Project};
//! use nnunet::progress::{Cancel, Silent};
//!
//! let project = Project::new(Folders {
//!     raw: Some("raw".into()),
//!     preprocessed: Some("preprocessed".into()),
//!     results: Some("results".into()),
//! });
//! // Another thread may stop the work with `cancel.cancel()`; a `Progress` of your own hears how far it is.
//! let cancel = Cancel::new();
//! let ctx = Ctx::new(&Silent, &cancel);
//! let dataset = project.dataset("Dataset004_Hippocampus")?;
//! project.plan_and_preprocess(&PlanAndPreprocessJob::new([dataset]), ctx)?;
//! // ... Project::train ...
//! project.predict(PredictJob::new("results/Dataset004_Hippocampus/MODEL", "images", "out"), ctx)?;
//! # Ok::<(), nnunet::Error>(())
//! ```

mod compare;
mod convert;
mod doctor;
mod ensemble;
mod evaluate;
mod experiment;
mod merge;
mod missing_patterns;
mod overlay;
mod plan;
mod postprocess;
mod predict;
mod predict_best;
mod preprocess;
mod report;
mod select;
mod store;
mod submit;
mod train;
mod training_volumes;
mod verify;

use std::path::Path;
use std::sync::Arc;

use nnunet_base::files::{ensure_writable_file, ensure_writable_folder};
use nnunet_dataset::{DatasetJson, DatasetName, Folders};
use nnunet_graph::backend::Backend;

pub use convert::{ConvertMsdJob, ConvertVersion1Job};
pub use doctor::{CpuState, Diagnosis, Finding, FindingKind, FolderState, ModelState, speed_of};
pub use ensemble::EnsembleJob;
pub use evaluate::{Classes, EvaluateJob, Evaluated};
pub use experiment::{ExperimentJob, ExperimentOutcome, Failure};
pub use merge::{MergeFileError, MergeJob};
pub use missing_patterns::MissingPatternsJob;
pub use overlay::{OverlayJob, Shown};
pub use plan::{ExplainJob, FingerprintJob, FingerprintState, Fingerprinted, MovePlansJob, PlanJob, Planned};
pub use postprocess::{ApplyPostprocessingJob, DeterminePostprocessingJob, Postprocessed, Predictions};
pub use predict::{MissingChannels, ModelChoice, PredictJob, PredictOutcome, Prediction, PredictionStage};
pub use predict_best::PredictBestJob;
pub use preprocess::{PlanAndPreprocessJob, PreprocessJob};
pub use report::{DatasetReport, EvaluationReport, ReportJob, ReportSubject, Reported, TrainingReport};
pub use select::{AccumulateJob, Accumulated, BestFound};
pub use train::{Phases, TrainJob, Trained};
pub use verify::{Verification, VerifyJob};

use crate::backend::{self, BackendOptions};
use crate::error::Error;
use crate::registry::Registry;

/// Looks variables up that stand in the paths of a dataset.json.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The three folders of nnU-Net with what is needed to work in them: a function for every verb.
#[derive(Clone)]
pub struct Project {
    folders: Folders,
    registry: Registry,
    backend: Arc<dyn Backend>,
    variables: Arc<Variables>,
}

impl Project {
    /// A project in `folders`, each of which may be missing until a verb needs it. Networks run on the CPU, with all
    /// cores.
    pub fn new(folders: Folders) -> Self {
        Self {
            folders,
            registry: Registry::default(),
            backend: backend::cpu(&BackendOptions::default()),
            variables: Arc::new(|_| None),
        }
    }

    /// The same project with other parts to choose from.
    #[must_use]
    pub fn with_registry(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// The same project with networks on another device, e.g. one from [`Registry::device`].
    #[must_use]
    pub fn with_backend(self, backend: Arc<dyn Backend>) -> Self {
        Self { backend, ..self }
    }

    /// The same project with values for the variables (`${NAME}`) in the paths of a dataset.json; without this, they
    /// stay as they are.
    #[must_use]
    pub fn with_variables(self, variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { variables: Arc::new(variables), ..self }
    }

    /// The same project in other folders.
    #[must_use]
    pub fn in_folders(&self, folders: Folders) -> Self {
        Self { folders, ..self.clone() }
    }

    /// Its folders.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The parts to choose from.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What runs networks.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The dataset of an id (`4`) or a name (`Dataset004_Hippocampus`) in whichever of the folders it is.
    ///
    /// # Errors
    /// No such dataset, or several of this id.
    pub fn dataset(&self, asked: &str) -> Result<DatasetName, Error> {
        Ok(self.folders.find(asked)?)
    }

    /// The raw folder of a dataset and its dataset.json, with the variables in its paths replaced.
    ///
    /// # Errors
    /// No folder of raw datasets; a dataset.json that cannot be read.
    pub fn raw_dataset(&self, dataset: &DatasetName) -> Result<(std::path::PathBuf, DatasetJson), Error> {
        let folder = self.folders.raw()?.join(dataset);
        let mut json = DatasetJson::load(&folder.join("dataset.json"))?;
        json.expand_variables(|name| (self.variables)(name));
        Ok((folder, json))
    }
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project")
            .field("folders", &self.folders)
            .field("registry", &self.registry)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// Fails if no files can be written to `folder`, which need not exist.
fn check_writable_folder(folder: &Path) -> Result<(), Error> {
    ensure_writable_folder(folder)
        .map_err(|source| Error::UnwritableFolder { path: folder.to_owned(), source })
}

/// Fails if the file `path`, which need not exist, cannot be written.
fn check_writable_file(path: &Path) -> Result<(), Error> {
    ensure_writable_file(path).map_err(|source| Error::UnwritableFile { path: path.to_owned(), source })
}

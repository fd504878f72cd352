//! Fingerprints and plans.

use std::path::PathBuf;

use nnunet_base::Ctx;
use nnunet_data::fingerprint::{ExtractOptions, Fingerprint, Parts, extract_part};
use nnunet_data::plan::{
    Explanation, MoveRequest, PlannerOptions, Plans, explain_plans, move_plans, plan_dataset,
};
use nnunet_dataset::{DatasetName, Part, cases};

use super::{Project, check_writable_folder};
use crate::error::{During, Error};

/// A fingerprint to take.
#[derive(Debug, Clone, PartialEq)]
pub struct FingerprintJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whether it is taken anew where there is one.
    pub anew: bool,
    /// The cases to look at, for several machines with the same folders; all by default.
    pub part: Part,
}

impl FingerprintJob {
    /// The fingerprint of all cases, unless there is one.
    pub fn new(dataset: DatasetName) -> Self {
        Self { dataset, anew: false, part: Part::default() }
    }
}

/// A fingerprint and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprinted {
    /// `dataset_fingerprint.json` of the dataset.
    pub path: PathBuf,
    /// How it came about.
    pub state: FingerprintState,
}

/// What became of a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FingerprintState {
    /// It was there.
    Kept,
    /// It was taken and written.
    Written,
    /// One part of it was taken; the last one to be taken writes the file.
    PartTaken {
        /// Number of the part, from 0.
        part: usize,
        /// The parts that are missing.
        missing: Vec<usize>,
    },
}

/// Plans to make.
#[derive(Debug, Clone)]
pub struct PlanJob {
    /// The dataset, which has a fingerprint.
    pub dataset: DatasetName,
    /// How to plan.
    pub options: PlannerOptions,
}

impl PlanJob {
    /// The default plans.
    pub fn new(dataset: DatasetName) -> Self {
        Self { dataset, options: PlannerOptions::default() }
    }
}

/// Plans that were made.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Their file.
    pub path: PathBuf,
    /// The plans.
    pub plans: Plans,
}

/// Plans to explain.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// Name of the plans, e.g. `nnUNetPlans`.
    pub plans: String,
    /// GPU memory in GB that they were made for, where that was not the planner's own.
    pub gpu_memory_target_gb: Option<f64>,
}

/// Plans of one dataset for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovePlansJob {
    /// The dataset that has the plans.
    pub source: DatasetName,
    /// Their name there.
    pub source_plans: String,
    /// The dataset that gets them.
    pub target: DatasetName,
    /// Their name there; the same if absent.
    pub target_plans: Option<String>,
}

impl Project {
    /// Takes the fingerprint of a dataset: shapes, spacings and intensities of its training cases.
    ///
    /// # Errors
    /// A dataset that cannot be read; results that cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, FingerprintJob, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let taken = project.fingerprint(&FingerprintJob::new(project.dataset("4")?), ctx)?;
    /// println!("{}", taken.path.display());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn fingerprint(&self, job: &FingerprintJob, ctx: Ctx<'_>) -> Result<Fingerprinted, Error> {
        let folder = self.folders.preprocessed()?.join(&job.dataset);
        let path = Fingerprint::path(&folder);
        if path.exists() && !job.anew {
            return Ok(Fingerprinted { path, state: FingerprintState::Kept });
        }
        check_writable_folder(&folder)?;
        let (raw, json) = self.raw_dataset(&job.dataset)?;
        let cases = cases::training_cases_with_warnings(&raw, &json, ctx.progress)?;
        let formats = self.registry.data.formats.clone();
        let options = ExtractOptions { part: job.part, formats, sharing_cases: None };
        let parts = extract_part(&folder, &cases, &json, &options, job.anew, ctx)
            .during(|| format!("fingerprint of {}", job.dataset))?;
        let state = match parts {
            Parts::Merged => FingerprintState::Written,
            Parts::Missing(missing) => FingerprintState::PartTaken { part: job.part.number(), missing },
        };
        Ok(Fingerprinted { path, state })
    }

    /// Plans spacing, patch size, network and batch size of every configuration, and writes the plans.
    ///
    /// # Errors
    /// A dataset without fingerprint; options that contradict each other; files that cannot be read or written.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, PlanJob, Project};
    /// # let project = Project::new(Folders::default());
    /// let planned = project.plan(&PlanJob::new(project.dataset("4")?))?;
    /// println!("{}: {:?}", planned.path.display(), planned.plans.configuration_names());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn plan(&self, job: &PlanJob) -> Result<Planned, Error> {
        let raw = self.folders.raw()?.join(&job.dataset);
        let preprocessed = self.folders.preprocessed()?.join(&job.dataset);
        let plans =
            plan_dataset(job.dataset.as_str(), &raw, &preprocessed, &job.options, &self.registry.data)
                .during(|| format!("plans of {}", job.dataset))?;
        Ok(Planned { path: preprocessed.join(format!("{}.json", plans.plans_name())), plans })
    }

    /// Tells for each value of the plans why it is what it is.
    ///
    /// # Errors
    /// Plans, fingerprint or dataset.json that cannot be read.
    ///
    /// ```no_run
    /// # use nnunet::{ExplainJob, Folders, Project};
    /// # let project = Project::new(Folders::default());
    /// let (dataset, plans) = (project.dataset("4")?, "nnUNetPlans".to_owned());
    /// let reasons = project.explain(&ExplainJob { dataset, plans, gpu_memory_target_gb: None })?;
    /// println!("{}", nnunet::plan::explanations_as_text(&reasons));
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn explain(&self, job: &ExplainJob) -> Result<Vec<Explanation>, Error> {
        let preprocessed = self.folders.preprocessed()?.join(&job.dataset);
        let options =
            PlannerOptions { gpu_memory_target_gb: job.gpu_memory_target_gb, ..PlannerOptions::default() };
        Ok(explain_plans(&preprocessed, &job.plans, options, &self.registry.data)?)
    }

    /// Writes the plans of one dataset for another, e.g. for pretraining, and returns their file.
    ///
    /// # Errors
    /// Plans, dataset.json or images that cannot be read; a name that cannot be a file's.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, MovePlansJob, Project};
    /// # let project = Project::new(Folders::default());
    /// let written = project.move_plans(&MovePlansJob {
    ///     source: project.dataset("4")?,
    ///     source_plans: "nnUNetPlans".to_owned(),
    ///     target: project.dataset("5")?,
    ///     target_plans: Some("pretrained".to_owned()),
    /// })?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn move_plans(&self, job: &MovePlansJob) -> Result<PathBuf, Error> {
        let preprocessed = self.folders.preprocessed()?;
        let request = MoveRequest {
            source: &preprocessed.join(&job.source),
            source_plans: &job.source_plans,
            target_name: job.target.as_str(),
            target_raw: &self.folders.raw()?.join(&job.target),
            target: &preprocessed.join(&job.target),
            target_plans: job.target_plans.as_deref(),
        };
        Ok(move_plans(&request, &self.registry.data)?)
    }
}

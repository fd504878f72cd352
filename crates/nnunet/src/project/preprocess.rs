//! The cases as the network will see them.

use nnunet_base::Ctx;
use nnunet_data::plan::{PlannerOptions, Plans};
use nnunet_data::preprocess::{
    DatasetFolders, Existing, PreprocessOptions, Preprocessed, preprocess_dataset,
};
use nnunet_dataset::DatasetName;

use super::Project;
use super::plan::{FingerprintJob, FingerprintState, PlanJob};
use crate::error::{During, Error};

/// Cases to preprocess.
#[derive(Debug, Clone)]
pub struct PreprocessJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// Name of the plans, e.g. `nnUNetPlans`.
    pub plans: String,
    /// The configurations; those that the plans do not have are skipped.
    pub configurations: Vec<String>,
    /// How to go about it.
    pub options: PreprocessOptions,
}

impl PreprocessJob {
    /// nnU-Net's own configurations with the plans `plans`. Cases that are finished already are kept.
    pub fn new(dataset: DatasetName, plans: impl Into<String>) -> Self {
        Self {
            dataset,
            plans: plans.into(),
            configurations: ["2d", "3d_fullres", "3d_lowres"].map(str::to_owned).into(),
            options: PreprocessOptions { existing: Existing::Keep, ..PreprocessOptions::default() },
        }
    }
}

/// Everything from raw data to what training needs.
#[derive(Debug, Clone)]
pub struct PlanAndPreprocessJob {
    /// The datasets.
    pub datasets: Vec<DatasetName>,
    /// Whether fingerprints are taken anew.
    pub anew: bool,
    /// How to plan.
    pub planner: PlannerOptions,
    /// The configurations to preprocess; those that the plans do not have are skipped.
    pub configurations: Vec<String>,
}

impl PlanAndPreprocessJob {
    /// The default plans and nnU-Net's own configurations.
    pub fn new(datasets: impl IntoIterator<Item = DatasetName>) -> Self {
        Self {
            datasets: datasets.into_iter().collect(),
            anew: false,
            planner: PlannerOptions::default(),
            configurations: ["2d", "3d_fullres", "3d_lowres"].map(str::to_owned).into(),
        }
    }
}

impl Project {
    /// Crops, normalises and resamples the training cases for each configuration, and returns for each that the plans
    /// have how many cases were made.
    ///
    /// # Errors
    /// Plans without any of the configurations; cases that failed (all are named, the others are done); results that
    /// cannot be written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, PreprocessJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// for (configuration, cases) in project.preprocess(&PreprocessJob::new(project.dataset("4")?, "nnUNetPlans"), ctx)? {
    ///     println!("{configuration}: {} cases made, {} kept", cases.made, cases.kept);
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn preprocess(
        &self,
        job: &PreprocessJob,
        ctx: Ctx<'_>,
    ) -> Result<Vec<(String, Preprocessed)>, Error> {
        let preprocessed = self.folders.preprocessed()?.join(&job.dataset);
        let plans = Plans::of_dataset(&preprocessed, &job.plans)?;
        let (raw, json) = self.raw_dataset(&job.dataset)?;
        let configurations: Vec<&str> = job.configurations.iter().map(String::as_str).collect();
        let folders = DatasetFolders { raw: &raw, preprocessed: &preprocessed };
        preprocess_dataset(folders, &json, &plans, &configurations, &job.options, &self.registry.data, ctx)
            .during(|| format!("preprocessing of {}", job.dataset))
    }

    /// Takes the fingerprints of the datasets, then plans and preprocesses each.
    ///
    /// # Errors
    /// Those of [`fingerprint`](Self::fingerprint), [`plan`](Self::plan) and [`preprocess`](Self::preprocess).
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, PlanAndPreprocessJob, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// project.plan_and_preprocess(&PlanAndPreprocessJob::new([project.dataset("4")?]), ctx)?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn plan_and_preprocess(&self, job: &PlanAndPreprocessJob, ctx: Ctx<'_>) -> Result<(), Error> {
        for dataset in &job.datasets {
            let fingerprint = FingerprintJob { anew: job.anew, ..FingerprintJob::new(dataset.clone()) };
            let taken = self.fingerprint(&fingerprint, ctx)?;
            let what = if taken.state == FingerprintState::Kept { "kept" } else { "wrote" };
            ctx.message(&format!("{what} {}", taken.path.display()));
        }
        for dataset in &job.datasets {
            let planned = self.plan(&PlanJob { dataset: dataset.clone(), options: job.planner.clone() })?;
            ctx.message(&format!("wrote {}", planned.path.display()));
            let mut preprocess = PreprocessJob::new(dataset.clone(), planned.plans.plans_name());
            preprocess.configurations.clone_from(&job.configurations);
            self.preprocess(&preprocess, ctx)?;
        }
        Ok(())
    }
}

//! Postprocessing of predictions.

use std::path::{Path, PathBuf};

use nnunet_assess::postprocess::{Determined, Postprocessing, apply_to_folder, determine};
use nnunet_base::Ctx;
use nnunet_data::Parts;
use nnunet_data::prediction_folder::PredictionFolder;

use super::{Project, check_writable_folder};
use crate::error::{During, Error};

/// A folder of segmentations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predictions {
    /// The folder.
    pub folder: PathBuf,
    /// Its dataset.json, if that is not in the folder.
    pub dataset_json: Option<PathBuf>,
    /// Its plans.json, if that is not in the folder.
    pub plans_json: Option<PathBuf>,
}

impl Predictions {
    /// A folder with dataset.json and plans.json in it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), dataset_json: None, plans_json: None }
    }

    fn open(&self, parts: &Parts) -> Result<PredictionFolder, Error> {
        let (dataset, plans) = (self.dataset_json.as_deref(), self.plans_json.as_deref());
        Ok(PredictionFolder::open(&self.folder, dataset, plans, parts)?)
    }
}

/// Predictions whose postprocessing is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeterminePostprocessingJob {
    /// The predictions; the results go there too.
    pub predictions: Predictions,
    /// Folder of the reference segmentations.
    pub references: PathBuf,
    /// Whether the changed segmentations stay, in the folder `postprocessed`.
    pub keep_postprocessed: bool,
}

/// Predictions to postprocess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPostprocessingJob {
    /// The predictions.
    pub predictions: Predictions,
    /// Folder of the changed segmentations, made if it does not exist.
    pub output: PathBuf,
    /// postprocessing.pkl or postprocessing.json. It is read as data; nothing in it is run.
    pub postprocessing: PathBuf,
}

/// What a postprocessing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postprocessed {
    /// Number of its steps.
    pub steps: usize,
    /// Voxels that were changed: with the built-in steps, removed.
    pub removed: usize,
}

impl Project {
    /// Finds out for which classes keeping only the largest component makes Dice better, and writes postprocessing.pkl
    /// and postprocessing.json beside the predictions.
    ///
    /// # Errors
    /// Files that cannot be read, written or do not fit; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, DeterminePostprocessingJob, Folders, Predictions, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let found = project.determine_postprocessing(&DeterminePostprocessingJob {
    ///     predictions: Predictions::new("predictions"),
    ///     references: "labels".into(),
    ///     keep_postprocessed: false,
    /// }, ctx)?;
    /// println!("Dice {} -> {}", found.before.foreground_mean.dice, found.after.foreground_mean.dice);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn determine_postprocessing(
        &self,
        job: &DeterminePostprocessingJob,
        ctx: Ctx<'_>,
    ) -> Result<Determined, Error> {
        let folder = job.predictions.open(&self.registry.data)?;
        check_writable_folder(folder.path())?;
        determine(&folder, &job.references, job.keep_postprocessed, ctx)
            .during(|| format!("postprocessing of {}", folder.path().display()))
    }

    /// Applies the steps of a postprocessing to every segmentation of a folder.
    ///
    /// # Errors
    /// Files that cannot be read, written or do not fit; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{ApplyPostprocessingJob, Ctx, Folders, Predictions, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let done = project.apply_postprocessing(&ApplyPostprocessingJob {
    ///     predictions: Predictions::new("predictions"),
    ///     output: "postprocessed".into(),
    ///     postprocessing: "postprocessing.pkl".into(),
    /// }, ctx)?;
    /// println!("{} voxels removed", done.removed);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn apply_postprocessing(
        &self,
        job: &ApplyPostprocessingJob,
        ctx: Ctx<'_>,
    ) -> Result<Postprocessed, Error> {
        let folder = job.predictions.open(&self.registry.data)?;
        check_writable_folder(&job.output)?;
        let postprocessing = Postprocessing::read(&job.postprocessing, &self.registry.postprocessings)?;
        let removed = apply_to_folder(&postprocessing, &folder, Path::new(&job.output), ctx)
            .during(|| format!("postprocessing of {}", folder.path().display()))?;
        Ok(Postprocessed { steps: postprocessing.steps.len(), removed })
    }
}

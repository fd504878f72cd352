//! Ensembles of predictions.

use std::path::PathBuf;

use nnunet_base::Ctx;
use nnunet_infer::ensemble::ensemble_folders;

use super::{Project, check_writable_folder};
use crate::error::Error;

/// Predictions of the same cases to average.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsembleJob {
    /// Folders of predictions with probabilities; dataset.json and geometry come from the first.
    pub folders: Vec<PathBuf>,
    /// Folder of the segmentations, made if it does not exist.
    pub output: PathBuf,
    /// Whether to write the mean probabilities too.
    pub save_probabilities: bool,
}

impl Project {
    /// Averages the probabilities of several predictions, writes the segmentations that follow, and returns the number
    /// of cases.
    ///
    /// # Errors
    /// Folders without probabilities or with different cases; cases that cannot be read or written (all are named, the
    /// others are done); interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, EnsembleJob, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let job = EnsembleJob {
    ///     folders: vec!["predicted_2d".into(), "predicted_3d".into()],
    ///     output: "ensemble".into(),
    ///     save_probabilities: false,
    /// };
    /// println!("{} cases", project.ensemble(&job, ctx)?);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn ensemble(&self, job: &EnsembleJob, ctx: Ctx<'_>) -> Result<usize, Error> {
        check_writable_folder(&job.output)?;
        Ok(ensemble_folders(&job.folders, &job.output, job.save_probabilities, &self.registry.data, ctx)?)
    }
}

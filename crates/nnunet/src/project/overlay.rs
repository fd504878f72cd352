//! Pictures of training cases with their labels.

use std::path::PathBuf;

use nnunet_assess::overlay::{OverlayRequest, preprocessed_overlays, raw_overlays};
use nnunet_base::Ctx;
use nnunet_data::plan::Plans;
use nnunet_dataset::DatasetName;

use super::{Project, check_writable_folder};
use crate::error::Error;

/// Cases to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlayJob {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its cases as they are, or as a configuration sees them.
    pub shown: Shown,
    /// Folder of the pictures, made if it does not exist.
    pub output: PathBuf,
    /// Channel that is shown, from 0.
    pub channel: usize,
    /// Brightness of the colours; 1 is as bright as the image.
    pub intensity: f64,
}

/// Which images are drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Those of the raw dataset.
    Raw,
    /// The preprocessed ones.
    Preprocessed {
        /// Name of the plans, e.g. `nnUNetPlans`.
        plans: String,
        /// The configuration; 3d_fullres if the plans have it, else 2d, if absent.
        configuration: Option<String>,
    },
}

impl Project {
    /// Draws a picture of every training case, its labels in colours over the slice with the most foreground, and
    /// returns how many.
    ///
    /// # Errors
    /// A dataset or configuration that is not there; cases that cannot be read or drawn (all are named, the others are
    /// done); interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, OverlayJob, Project, Shown, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let drawn = project.overlay(&OverlayJob {
    ///     dataset: project.dataset("4")?,
    ///     shown: Shown::Raw,
    ///     output: "pictures".into(),
    ///     channel: 0,
    ///     intensity: 0.6,
    /// }, ctx)?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn overlay(&self, job: &OverlayJob, ctx: Ctx<'_>) -> Result<usize, Error> {
        check_writable_folder(&job.output)?;
        let request = OverlayRequest { output: &job.output, channel: job.channel, intensity: job.intensity };
        match &job.shown {
            Shown::Raw => {
                let folder = self.folders.raw()?.join(&job.dataset);
                Ok(raw_overlays(&folder, &self.registry.data.formats, &request, ctx)?)
            }
            Shown::Preprocessed { plans, configuration } => {
                let folder = self.folders.preprocessed()?.join(&job.dataset);
                let plans = Plans::of_dataset(&folder, plans)?;
                let default = if plans.has_configuration("3d_fullres") { "3d_fullres" } else { "2d" };
                let configuration = plans.configuration(configuration.as_deref().unwrap_or(default))?;
                Ok(preprocessed_overlays(&folder.join(&configuration.data_identifier), &request, ctx)?)
            }
        }
    }
}

//! Raw datasets from other layouts.

use std::path::PathBuf;

use nnunet_base::Ctx;
use nnunet_dataset::convert::{convert_msd, convert_version_1};

use super::{Project, check_writable_folder};
use crate::error::Error;

/// A task of the Medical Segmentation Decathlon to convert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertMsdJob {
    /// The unpacked task, e.g. `Task05_Prostate`.
    pub source: PathBuf,
    /// Id of the new dataset; the number of the task if absent.
    pub id: Option<u32>,
}

/// A raw dataset of nnU-Net v1 to convert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertVersion1Job {
    /// The dataset, with `imagesTr` and `labelsTr`.
    pub source: PathBuf,
    /// Name of the new dataset, like `Dataset005_Prostate`.
    pub name: String,
}

impl Project {
    /// Makes a raw dataset from a task of the Medical Segmentation Decathlon and returns its folder. It appears when it
    /// is complete, or not at all.
    ///
    /// # Errors
    /// A folder that is no such task; an id that is taken; files that cannot be read or written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{ConvertMsdJob, Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let made = project.convert_msd(&ConvertMsdJob { source: "Task05_Prostate".into(), id: None }, ctx)?;
    /// assert!(made.ends_with("Dataset005_Prostate"));
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn convert_msd(&self, job: &ConvertMsdJob, ctx: Ctx<'_>) -> Result<PathBuf, Error> {
        check_writable_folder(self.folders.raw()?)?;
        Ok(convert_msd(&job.source, job.id, &self.folders, ctx)?)
    }

    /// Makes a raw dataset from one of nnU-Net v1 and returns its folder. It appears when it is complete, or not at
    /// all.
    ///
    /// # Errors
    /// A folder that is no such dataset; a name or id that is taken; files that cannot be read or written; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{ConvertVersion1Job, Ctx, Folders, Project, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let job = ConvertVersion1Job { source: "Task005_Prostate".into(), name: "Dataset005_Prostate".into() };
    /// println!("{}", project.convert_version_1(&job, ctx)?.display());
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn convert_version_1(&self, job: &ConvertVersion1Job, ctx: Ctx<'_>) -> Result<PathBuf, Error> {
        check_writable_folder(self.folders.raw()?)?;
        Ok(convert_version_1(&job.source, &job.name, &self.folders, ctx)?)
    }
}

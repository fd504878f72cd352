//! The whole method as jobs.

use std::path::{Path, PathBuf};

use nnunet_base::Ctx;

use super::{Project, check_writable_folder};
use crate::error::{During, Error};
use crate::submit::{
    JobGraph, LocalOptions, Record, SlurmOptions, SubmitRequest, graph, run_locally, submit, write_scripts,
};

impl Project {
    /// The jobs from raw data to the best model and its segmentations.
    ///
    /// # Errors
    /// Plans that are neither there nor made by the first job; configurations that they do not have.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, Project, submit::SubmitRequest};
    /// # let project = Project::new(Folders::default());
    /// let jobs = project.jobs(&SubmitRequest {
    ///     dataset: project.dataset("4")?,
    ///     plans: "nnUNetPlans".to_owned(),
    ///     configurations: vec!["2d".to_owned(), "3d_fullres".to_owned()],
    ///     folds: vec![0, 1, 2, 3, 4],
    ///     trainer: "nnUNetTrainer".to_owned(),
    ///     trainer_name: "nnUNetTrainer".to_owned(),
    ///     parts: 4,
    ///     ensembling: true,
    ///     predict: None,
    ///     common: Vec::new(),
    /// })?;
    /// for job in &jobs.jobs {
    ///     println!("{}: {} tasks after {:?}", job.name, job.tasks.len(), job.needs);
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn jobs(&self, request: &SubmitRequest) -> Result<JobGraph, Error> {
        Ok(graph(request, &self.folders.preprocessed()?.join(&request.dataset))?)
    }

    /// Writes a batch script for each job to `folder` and returns their paths. `program` is run by them.
    ///
    /// # Errors
    /// Options with line breaks; files that cannot be written.
    ///
    /// ```no_run
    /// # use nnunet::{Project, submit::{JobGraph, SlurmOptions}};
    /// # fn f(project: &Project, jobs: &JobGraph) -> Result<(), nnunet::Error> {
    /// let options = SlurmOptions { cpus: Some(12), ..SlurmOptions::default() };
    /// let scripts = project.write_scripts(jobs, "nnunet".as_ref(), "scripts".as_ref(), &options)?;
    /// # Ok(()) }
    /// ```
    pub fn write_scripts(
        &self,
        jobs: &JobGraph,
        program: &Path,
        folder: &Path,
        options: &SlurmOptions,
    ) -> Result<Vec<PathBuf>, Error> {
        check_writable_folder(folder)?;
        Ok(write_scripts(jobs, program, folder, options)?)
    }

    /// Writes the scripts and submits them to SLURM. The numbers of the jobs are recorded in `folder/submit.json`.
    ///
    /// # Errors
    /// No SLURM here, or one that refuses a job: those before it are cancelled; files that cannot be written.
    ///
    /// ```no_run
    /// # use nnunet::{Project, submit::{JobGraph, SlurmOptions}};
    /// # fn f(project: &Project, jobs: &JobGraph) -> Result<(), nnunet::Error> {
    /// let options = SlurmOptions { partition: Some("gpu".to_owned()), ..SlurmOptions::default() };
    /// for job in project.submit(jobs, "nnunet".as_ref(), "scripts".as_ref(), &options)?.jobs {
    ///     println!("{}: {:?}", job.name, job.slurm_id);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn submit(
        &self,
        jobs: &JobGraph,
        program: &Path,
        folder: &Path,
        options: &SlurmOptions,
    ) -> Result<Record, Error> {
        check_writable_folder(folder)?;
        Ok(submit(jobs, program, folder, options)?)
    }

    /// Runs the jobs on this machine, each task as a process of its own with a log in `folder/logs`. A later run in the same
    /// folder goes on where this one stopped.
    ///
    /// # Errors
    /// Tasks that failed; interrupted; files that cannot be written.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Project, submit::{JobGraph, LocalOptions}};
    /// # fn f(project: &Project, jobs: &JobGraph, ctx: Ctx<'_>) -> Result<(), nnunet::Error> {
    /// let options = LocalOptions { program: "nnunet".into(), at_once: 2, threads: 8 };
    /// project.run_locally(jobs, "jobs".as_ref(), &options, ctx)?;
    /// # Ok(()) }
    /// ```
    pub fn run_locally(
        &self,
        jobs: &JobGraph,
        folder: &Path,
        options: &LocalOptions,
        ctx: Ctx<'_>,
    ) -> Result<Record, Error> {
        check_writable_folder(folder)?;
        run_locally(jobs, folder, options, ctx).during(|| format!("jobs in {}", folder.display()))
    }
}

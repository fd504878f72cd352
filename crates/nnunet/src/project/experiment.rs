//! A recipe and its variants, trained on the same folds and compared.

use nnunet_base::Ctx;
use nnunet_base::progress::Interrupted;
use nnunet_dataset::splits::Fold;
use nnunet_infer::model::ModelName;
use nnunet_train::{Start, TrainError, TrainRequest};

use super::train::{Phases, TrainJob};
use super::{Project, check_writable_folder};
use crate::compare::{CompareError, CompareRequest, Comparison};
use crate::error::{During, Error};
use crate::experiment::{Experiment, ExperimentError, ExperimentRun, RunState, runs};
use crate::submit::{ExperimentTasks, JobGraph, experiment_graph};

/// An experiment to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentJob {
    /// The recipes and what they are trained on.
    pub experiment: Experiment,
    /// The [address](ExperimentRun::address) of the only training to run; all of them, and the comparison, if absent.
    pub only: Option<String>,
}

/// What became of an experiment.
#[derive(Debug)]
pub struct ExperimentOutcome {
    /// Number of its trainings.
    pub runs: usize,
    /// The trainings that failed.
    pub failures: Vec<Failure>,
    /// The recipes side by side, in comparison with the base; `None` if no training has results, or only one was to run.
    pub comparison: Option<Comparison>,
}

/// A training that failed.
#[derive(Debug)]
pub struct Failure {
    /// The training.
    pub run: ExperimentRun,
    /// Why.
    pub error: Error,
}

impl Project {
    /// The trainings of an experiment in their order, each with how far it is.
    ///
    /// # Errors
    /// An unknown dataset; results of other trainings where those of the experiment belong.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, Project, experiment::Experiment};
    /// # let project = Project::new(Folders::default());
    /// let experiment = Experiment::read("losses.toml".as_ref(), project.registry())?;
    /// for run in project.experiment_runs(&experiment)? {
    ///     println!("{} {run}", run.state.word());
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn experiment_runs(&self, experiment: &Experiment) -> Result<Vec<ExperimentRun>, Error> {
        let dataset = self.dataset(&experiment.dataset)?;
        Ok(runs(experiment, &dataset, self.folders.results()?, &self.registry)?)
    }

    /// Trains what an experiment lacks, one training after the other, and compares the recipes. Interrupted trainings go on
    /// where they were. One that fails is reported as a warning and does not stop the others; the other folds of
    /// its recipe and configuration are left out.
    ///
    /// # Errors
    /// Those of [`experiment_runs`](Self::experiment_runs) and [`compare`](Self::compare); a training to run that the experiment
    /// does not have; interrupted.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, ExperimentJob, Folders, Project, experiment::Experiment, progress::{Cancel, Silent}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let experiment = Experiment::read("losses.toml".as_ref(), project.registry())?;
    /// let outcome = project.experiment(&ExperimentJob { experiment, only: None }, ctx)?;
    /// if let Some(comparison) = outcome.comparison {
    ///     println!("{}", comparison.to_text());
    /// }
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn experiment(&self, job: &ExperimentJob, ctx: Ctx<'_>) -> Result<ExperimentOutcome, Error> {
        check_writable_folder(self.folders.results()?)?;
        let mut runs = self.experiment_runs(&job.experiment)?;
        if let Some(only) = &job.only {
            let known: Vec<String> = runs.iter().map(ExperimentRun::address).collect();
            runs.retain(|run| run.address() == *only);
            if runs.is_empty() {
                return Err(
                    ExperimentError::UnknownRun { name: only.clone(), known: known.join(", ") }.into()
                );
            }
        }
        let count = runs.len();
        let mut failures: Vec<Failure> = Vec::new();
        for (number, run) in (1..).zip(runs) {
            if run.state == RunState::Done {
                ctx.message(&format!("{number} of {count}: {run} is done"));
                continue;
            }
            let is_same = |failed: &ExperimentRun| {
                failed.recipe.name == run.recipe.name && failed.configuration == run.configuration
            };
            if let Some(failure) = failures.iter().find(|failure| is_same(&failure.run)) {
                ctx.warning(&format!("{run}: left out, since fold {} failed", failure.run.fold));
                continue;
            }
            ctx.message(&format!("{number} of {count}: {} {run}", run.state.word()));
            match self.experiment_training(job, &run, ctx) {
                Ok(()) => {}
                Err(error) if Interrupted::caused(&error) => return Err(error),
                Err(error) => {
                    ctx.warning(&format!("{run} failed: {error}"));
                    failures.push(Failure { run, error });
                }
            }
        }
        if job.only.is_some() {
            return Ok(ExperimentOutcome { runs: count, failures, comparison: None });
        }
        let comparison = match self.compare(&self.experiment_comparison(&job.experiment)?, ctx) {
            Ok(comparison) => Some(comparison),
            Err(error) => match error.root() {
                Error::Compare(CompareError::NoResults { .. }) if !failures.is_empty() => None,
                _ => return Err(error),
            },
        };
        Ok(ExperimentOutcome { runs: count, failures, comparison })
    }

    /// The trainings that an experiment lacks as jobs, and after them the comparison.
    ///
    /// # Errors
    /// Those of [`experiment_runs`](Self::experiment_runs); plans that cannot be read, or lack a configuration.
    ///
    /// ```no_run
    /// # use nnunet::{Folders, Project, experiment::Experiment, submit::ExperimentTasks};
    /// # let project = Project::new(Folders::default());
    /// let file = std::path::absolute("losses.toml").unwrap();
    /// let experiment = Experiment::read(&file, project.registry())?;
    /// let jobs = project.experiment_jobs(&experiment, ExperimentTasks { file: &file, training: &[], common: &[] })?;
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn experiment_jobs(
        &self,
        experiment: &Experiment,
        tasks: ExperimentTasks<'_>,
    ) -> Result<JobGraph, Error> {
        let folder = self.folders.preprocessed()?.join(&self.dataset(&experiment.dataset)?);
        let plans = folder.join(format!("{}.json", experiment.plans));
        Ok(experiment_graph(&self.experiment_runs(experiment)?, &plans, tasks)?)
    }

    fn experiment_training(
        &self,
        job: &ExperimentJob,
        run: &ExperimentRun,
        ctx: Ctx<'_>,
    ) -> Result<(), Error> {
        if ctx.is_cancelled() {
            let stopped = TrainError::Interrupted { path: None, source: Interrupted };
            return Err(stopped).during(|| format!("before {run}"));
        }
        let training = TrainRequest {
            dataset: self.dataset(&job.experiment.dataset)?,
            configuration: run.configuration.clone(),
            fold: Fold::Number(run.fold),
            plans: job.experiment.plans.clone(),
            recipe: run.recipe.clone(),
            batch_size: None,
            seed: job.experiment.seed,
            backend: self.backend.clone(),
            start: if run.state == RunState::Interrupted { Start::Resume } else { Start::New },
            checkpointing: true,
        };
        let phases = if run.state == RunState::Trained { Phases::Validate } else { Phases::TrainAndValidate };
        self.train(TrainJob { phases, ..TrainJob::new(training) }, ctx).map(drop)
    }

    /// The recipes of an experiment in all its configurations, in comparison with the base in the first.
    fn experiment_comparison(&self, experiment: &Experiment) -> Result<CompareRequest, Error> {
        let models = experiment.configurations.iter().flat_map(|configuration| {
            experiment.recipes.iter().map(|recipe| ModelName {
                trainer: recipe.name.clone(),
                plans: experiment.plans.clone(),
                configuration: configuration.clone(),
            })
        });
        let mut request = CompareRequest::new(self.dataset(&experiment.dataset)?);
        request.models = models.collect();
        Ok(request)
    }
}

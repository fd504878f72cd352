//! Training and its validation.

use std::path::Path;

use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_dataset::DatasetName;
use nnunet_dataset::splits::Fold;
use nnunet_recipe::{Recipe, ValidatedCheckpoint, find, is_file_name, read_file};
use nnunet_train::{RunFolder, Start, TrainError, TrainRequest, Training};

use super::{Project, check_writable_folder};
use crate::error::{During, Error};
use crate::registry::Registry;

/// A fold to train and validate.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// What to train, and how.
    pub training: TrainRequest,
    /// What of it to do.
    pub phases: Phases,
    /// Which checkpoint is validated; the recipe may ask for the best one in any case.
    pub validate: ValidatedCheckpoint,
    /// Whether the validation writes probabilities too.
    pub save_probabilities: bool,
}

impl TrainJob {
    /// The training and then the validation of its final weights.
    pub fn new(training: TrainRequest) -> Self {
        let (phases, validate) = (Phases::TrainAndValidate, ValidatedCheckpoint::Final);
        Self { training, phases, validate, save_probabilities: false }
    }
}

/// What of a training is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phases {
    /// The training and then the validation.
    TrainAndValidate,
    /// The validation of a training that is complete.
    Validate,
}

/// A fold that was trained and validated.
#[derive(Debug)]
pub struct Trained {
    /// Where its results are.
    pub folder: RunFolder,
    /// The evaluation of its validation cases; none of a benchmark.
    pub summary: Option<Summary>,
}

impl Project {
    /// Trains one fold of a configuration, then predicts and evaluates its validation cases. `training.backend` runs
    /// the network; the parts that recipe, plans and dataset name come from the project's registry.
    ///
    /// # Errors
    /// Anything missing or contradictory; another run on the fold; results that cannot be written; interrupted, with
    /// the checkpoint to go on from.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Project, TrainJob, progress::{Cancel, Silent}};
    /// # use nnunet::{dataset::splits::Fold, recipe::Recipe, train::{Start, TrainRequest}};
    /// # let (project, cancel) = (Project::new(Folders::default()), Cancel::new());
    /// # let ctx = Ctx::new(&Silent, &cancel);
    /// let training = TrainRequest {
    ///     dataset: project.dataset("4")?,
    ///     configuration: "3d_fullres".to_owned(),
    ///     fold: Fold::Number(0),
    ///     plans: "nnUNetPlans".to_owned(),
    ///     recipe: Recipe::default_trainer().with_epochs(50),
    ///     batch_size: None,
    ///     seed: 0,
    ///     backend: project.backend().clone(),
    ///     start: Start::New,
    ///     checkpointing: true,
    /// };
    /// let trained = project.train(TrainJob::new(training), ctx)?;
    /// println!("Dice {:?}", trained.summary.map(|summary| summary.foreground_mean.dice));
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn train(&self, job: TrainJob, ctx: Ctx<'_>) -> Result<Trained, Error> {
        let training = &job.training;
        let what =
            format!("training of {} {} fold {}", training.dataset, training.configuration, training.fold);
        let folder = RunFolder::new(
            self.folders.results()?,
            training.dataset.as_str(),
            &training.recipe.name,
            &training.plans,
            &training.configuration,
            training.fold,
        );
        check_writable_folder(folder.fold())?;
        let summary = self.train_in(&folder, job, ctx).during(|| what)?;
        Ok(Trained { folder, summary })
    }

    /// The recipe called `name`: a file (`.toml`, `.json`), one of the registry, or else the copy that a training of
    /// `configuration` with the plans `plans` left beside its results, so that a recipe's file is not needed to go on.
    ///
    /// # Errors
    /// A name that is none of these; a file that cannot be read or is no recipe.
    ///
    /// ```no_run
    /// # let project = nnunet::Project::new(nnunet::Folders::default());
    /// let recipe = project.recipe("my_recipe", &project.dataset("4")?, "nnUNetPlans", "3d_fullres")?;
    /// println!("{} epochs", recipe.epochs);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn recipe(
        &self,
        name: &str,
        dataset: &DatasetName,
        plans: &str,
        configuration: &str,
    ) -> Result<Recipe, Error> {
        let known = &self.registry.recipes;
        if is_file_name(name) {
            return Ok(read_file(Path::new(name), known)?);
        }
        let unknown = match find(name, known) {
            Ok(recipe) => return Ok(recipe),
            Err(unknown) => unknown,
        };
        let Some(results) = &self.folders.results else { return Err(unknown.into()) };
        let fold = Fold::Number(0);
        let folder = RunFolder::new(results, dataset.as_str(), name, plans, configuration, fold);
        match folder.written_recipe() {
            Some(copy) => Ok(read_file(&copy, known)?),
            None => Err(unknown.into()),
        }
    }

    fn train_in(
        &self,
        folder: &RunFolder,
        job: TrainJob,
        ctx: Ctx<'_>,
    ) -> Result<Option<Summary>, TrainError> {
        let TrainJob { training: request, phases, validate, save_probabilities } = job;
        let by_recipe =
            request.recipe.validated_checkpoint == ValidatedCheckpoint::Best && request.checkpointing;
        let best = by_recipe || validate == ValidatedCheckpoint::Best;
        let Registry { train, data, .. } = &self.registry;
        let prepare = |request| Training::prepare_with(request, train, data, &self.folders, ctx.progress);
        if phases == Phases::TrainAndValidate {
            let mut training = prepare(request.clone())?;
            training.run(ctx)?;
            if request.recipe.benchmark {
                return Ok(None);
            }
            if !best {
                return training.validate(save_probabilities, ctx).map(Some);
            }
        }
        let checkpoint = if best { folder.best_checkpoint() } else { folder.final_checkpoint() };
        prepare(TrainRequest { start: Start::From(checkpoint), ..request })?
            .validate(save_probabilities, ctx)
            .map(Some)
    }
}

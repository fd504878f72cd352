//! Training and its validation.

use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_train::train::{RunFolder, Start, TrainRequest, Training};

use super::{Project, check_writable_folder};
use crate::error::{During, Error};

/// A fold to train and validate.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// What to train, and how.
    pub training: TrainRequest,
    /// What of it to do.
    pub phases: Phases,
    /// Which weights are validated.
    pub validate: ValidatedWeights,
    /// Whether the validation writes probabilities too.
    pub save_probabilities: bool,
}

/// What of a training is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phases {
    /// The training and then the validation.
    TrainAndValidate,
    /// The validation of a training that is complete.
    Validate,
}

/// Which weights are validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidatedWeights {
    /// Those at the end.
    Final,
    /// Those with the best moving average of the pseudo-Dice.
    Best,
}

/// A fold that was trained and validated.
#[derive(Debug)]
pub struct Trained {
    /// Where its results are.
    pub folder: RunFolder,
    /// The evaluation of its validation cases.
    pub summary: Summary,
}

impl Project {
    /// Trains one fold of a configuration, then predicts and evaluates its validation cases. `training.backend` runs
    /// the network.
    ///
    /// # Errors
    /// Anything missing or contradictory; another run on the fold; results that cannot be written; interrupted, with
    /// the checkpoint to go on from.
    ///
    /// ```no_run
    /// # use nnunet::{Ctx, Folders, Phases, Project, TrainJob, ValidatedWeights, progress::{Cancel, Silent}};
    /// # use nnunet::{dataset::splits::Fold, model::Recipe, train::{Start, TrainRequest}};
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
    ///     max_ram: None,
    /// };
    /// let trained = project.train(TrainJob {
    ///     training,
    ///     phases: Phases::TrainAndValidate,
    ///     validate: ValidatedWeights::Final,
    ///     save_probabilities: false,
    /// }, ctx)?;
    /// println!("Dice {}", trained.summary.foreground_mean.dice);
    /// # Ok::<(), nnunet::Error>(())
    /// ```
    pub fn train(&self, job: TrainJob, ctx: Ctx<'_>) -> Result<Trained, Error> {
        let TrainJob { mut training, phases, validate, save_probabilities } = job;
        let what =
            format!("training of {} {} fold {}", training.dataset, training.configuration, training.fold);
        let folder = RunFolder::new(
            self.folders.results()?,
            training.dataset.as_str(),
            &training.recipe.trainer,
            &training.plans,
            &training.configuration,
            training.fold,
        );
        check_writable_folder(folder.fold())?;
        let run = || {
            let best = Start::From(folder.best_checkpoint());
            let mut validated = training.clone();
            let mut prepared = match (phases, validate) {
                (Phases::TrainAndValidate, _) => {
                    let mut training = Training::prepare(training, &self.folders, ctx.progress)?;
                    training.run(ctx)?;
                    Some(training)
                }
                (Phases::Validate, ValidatedWeights::Final) => {
                    training.start = Start::From(folder.final_checkpoint());
                    Some(Training::prepare(training, &self.folders, ctx.progress)?)
                }
                (Phases::Validate, ValidatedWeights::Best) => None,
            };
            if validate == ValidatedWeights::Best {
                // Its lock on the fold goes first.
                drop(prepared.take());
                validated.start = best;
            }
            let mut training = match prepared {
                Some(training) => training,
                None => Training::prepare(validated, &self.folders, ctx.progress)?,
            };
            training.validate(save_probabilities, ctx)
        };
        let summary = run().during(|| what)?;
        Ok(Trained { folder, summary })
    }
}

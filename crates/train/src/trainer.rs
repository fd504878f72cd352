//! A training that can be run as a whole or driven epoch by epoch.
//!
//! [`Training::prepare`] puts it together; [`Training::run`] trains what is left. A caller that wants to do something
//! between epochs calls [`Training::next_epoch`] instead and [`Training::finish`] at the end: weights may be taken out and put
//! in, groups of parameters frozen, cases exchanged. A [`StepHook`] takes part in each step.

use std::time::Instant;

use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_base::progress::{Event, Progress};
use nnunet_dataset::Folders;
use nnunet_graph::backend::{Snapshot, TrainingSession};
use nnunet_graph::{Graph, Parameters, init};
use nnunet_pyformats::json::Json;
use nnunet_recipe::{GroupRule, Recipe};

use super::benchmark;
use super::data::{Loaders, Sources};
use super::error::TrainError;
use super::groups::{Members, ParameterGroup};
use super::hook::StepHook;
use super::moving_average::MovingAverage;
use super::observers::FoldRecords;
use super::parts::Parts;
use super::rate_factors::RateFactors;
use super::request::{Start, TrainRequest};
use super::run_folder::RunFolder;
use super::setup::Setup;
use super::start::starting_state;
use super::state::{self, Loaded};
use super::teacher::Teacher;
use super::validate::Validation;

/// A training that is put together and can run.
pub struct Training {
    pub(super) setup: Setup,
    pub(super) session: Box<dyn TrainingSession>,
    pub(super) state: state::Progress,
    /// Whether the training began without a state and has saved none of its own yet.
    pub(super) unsaved: bool,
    /// Whether its first epoch was prepared.
    pub(super) begun: bool,
    /// When the state to go on from was saved last, or the training began.
    pub(super) saved_at: Instant,
    pub(super) records: FoldRecords,
    /// Where batches come from, if not from the stored cases.
    pub(super) sources: Option<Sources>,
    /// Running loaders. They are at the next batch that the state asks for.
    pub(super) loaders: Option<Loaders>,
    pub(super) rate_factors: RateFactors,
    /// The average of the weights that is validated, if the recipe or the checkpoint has one.
    pub(super) average: Option<MovingAverage>,
    pub(super) hooks: Vec<Box<dyn StepHook>>,
    pub(super) teacher: Option<Teacher>,
}

impl Training {
    /// Reads plans, dataset and splits, builds the network and puts the starting state into it. Recipe, plans and
    /// dataset name built-in parts.
    ///
    /// # Errors
    /// Anything missing, damaged or contradictory, another run on the fold, or results that cannot be written; nothing of an earlier run
    /// is changed then.
    pub fn prepare(
        request: TrainRequest,
        folders: &Folders,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        Self::prepare_with(request, &Parts::default(), &nnunet_data::Parts::default(), folders, progress)
    }

    /// The same with the parts that the recipe may name, and those that plans and dataset.json may name.
    ///
    /// # Errors
    /// See [`Training::prepare`].
    pub fn prepare_with(
        request: TrainRequest,
        parts: &Parts,
        data_parts: &nnunet_data::Parts,
        folders: &Folders,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        let mut setup = Setup::new(request, parts, data_parts, folders, progress)?;
        let request = &setup.request;
        let parameters = init::initialise(&setup.graph, request.seed);
        let mut session = request.backend.training(&setup.graph, parameters, &setup.step)?;
        let recipe = &setup.identity.recipe;
        let rate_factors = RateFactors::new(&setup.graph, &groups(recipe), &recipe.fine_tuning)?;
        let Loaded { progress: state, average } =
            starting_state(&request.start, &setup.folder, recipe, &setup.graph, &mut *session, progress)?;
        // A checkpoint without an average, as Python writes them, starts it.
        let average = match (recipe.ema, average) {
            (None, average) => average.map(|average| MovingAverage::new(0.0, average)),
            (Some(decay), Some(average)) => Some(MovingAverage::new(decay, average)),
            (Some(decay), None) => Some(MovingAverage::new(decay, session.export()?.parameters)),
        };
        let training = Self {
            records: FoldRecords::create(setup.folder.fold(), &mut setup.held.fresh)?,
            session,
            unsaved: state == state::Progress::default(),
            state,
            begun: false,
            saved_at: Instant::now(),
            sources: None,
            loaders: None,
            rate_factors,
            average,
            hooks: Vec::new(),
            teacher: None,
            setup,
        };
        training.introduce(progress)?;
        Ok(training)
    }

    /// Says which cases are trained on.
    fn introduce(&self, progress: &dyn Progress) -> Result<(), TrainError> {
        let setup = &self.setup;
        self.say(&format!("splits: {}", setup.remarks.origin), progress)?;
        for warning in &setup.remarks.warnings {
            self.warn(warning, progress)?;
        }
        // nnU-Net's plans for a pretrained encoder name its file.
        let weights =
            setup.plans.document().get("pretrain_info").and_then(|info| info.get("checkpoint_path"));
        if let (Start::New, Some(path)) = (&setup.request.start, weights.and_then(Json::as_str)) {
            let warning = format!(
                "the plans {} are made for the pretrained weights {path}, which are not used",
                setup.plans.plans_name()
            );
            self.warn(&warning, progress)?;
        }
        let line = format!(
            "fold {}: {} training and {} validation cases",
            setup.request.fold,
            setup.train_cases.len(),
            setup.validation_cases.len()
        );
        self.say(&line, progress)
    }

    /// Where the results go.
    pub fn folder(&self) -> &RunFolder {
        &self.setup.folder
    }

    /// The network that is trained.
    pub fn graph(&self) -> &Graph {
        &self.setup.graph
    }

    /// Epochs that are complete.
    pub fn completed_epochs(&self) -> usize {
        self.state.epoch
    }

    /// Whether all epochs are complete.
    pub fn is_complete(&self) -> bool {
        self.state.epoch >= self.setup.request.recipe.epochs
    }

    /// The weights, the buffers and the optimiser's state.
    ///
    /// # Errors
    /// When they cannot be fetched from the device.
    pub fn snapshot(&self) -> Result<Snapshot, TrainError> {
        Ok(self.session.export()?)
    }

    /// Goes on with other weights, with which a moving average begins again, and, if the snapshot has one, another state of the optimiser.
    ///
    /// # Errors
    /// A snapshot of another network or optimiser; the training is as before then.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<(), TrainError> {
        let parameters = self.average.is_some().then(|| snapshot.parameters.without_gradients());
        self.session.import(snapshot)?;
        if let (Some(average), Some(parameters)) = (&mut self.average, parameters) {
            average.restart(parameters);
        }
        Ok(())
    }

    /// Exchanges trained and averaged weights, if there are any.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn exchange_average(&mut self) -> Result<(), TrainError> {
        match &mut self.average {
            Some(average) => Ok(average.exchange(&mut *self.session)?),
            None => Ok(()),
        }
    }

    /// Lets groups of parameters learn at other rates, or freezes them, from the next step on. A parameter belongs to the first
    /// group that contains it; those in none learn at the rate of the schedule. The groups of the recipe are replaced; what its `fine_tuning` says holds
    /// for them too.
    ///
    /// # Errors
    /// A prefix that no parameter's name begins with; a factor below 0.
    pub fn set_parameter_groups(&mut self, groups: &[ParameterGroup]) -> Result<(), TrainError> {
        let fine_tuning = &self.setup.request.recipe.fine_tuning;
        self.rate_factors = RateFactors::new(&self.setup.graph, groups, fine_tuning)?;
        Ok(())
    }

    /// Draws batches from other cases, from the next epoch on (or where an interrupted epoch goes on).
    pub fn set_sources(&mut self, sources: Sources) {
        self.sources = Some(sources);
        self.loaders = None;
    }

    /// Takes part in every step from now on, after the hooks that were added before.
    pub fn add_hook(&mut self, hook: Box<dyn StepHook>) {
        self.hooks.push(hook);
    }

    /// Runs the same network with other weights on every training batch before the step. Hooks and losses of one's own find its
    /// logits in [`Targets::teacher`](nnunet_graph::loss::Targets::teacher). `None` takes the teacher away.
    ///
    /// # Errors
    /// Weights of another network.
    pub fn set_teacher(&mut self, parameters: Option<Parameters>) -> Result<(), TrainError> {
        let backend = &self.setup.request.backend;
        let teacher = parameters.map(|parameters| Teacher::new(&**backend, &self.setup.graph, parameters));
        self.teacher = teacher.transpose()?;
        Ok(())
    }

    /// Trains the epochs that are left and writes the final checkpoint. A recipe that is a benchmark writes no checkpoint but
    /// `benchmark_result.json`.
    ///
    /// # Errors
    /// What goes wrong; [`TrainError::Interrupted`] after a cancellation, which says whether the state is saved.
    pub fn run(&mut self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        if self.is_complete() {
            self.setup.held.fresh.keep();
            return self.say("all epochs are done already", ctx.progress);
        }
        let trained = self.train_epochs(ctx);
        let is_timed = self.setup.request.recipe.benchmark && self.begun;
        if is_timed && !matches!(trained, Err(TrainError::Interrupted { .. })) {
            benchmark::write_result(&self.setup, trained.is_ok().then_some(&self.state.history))?;
        }
        trained
    }

    fn train_epochs(&mut self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        while !self.is_complete() {
            self.next_epoch(ctx)?;
        }
        self.finish(ctx)
    }

    /// Predicts and evaluates the validation cases with the present weights, or their moving average.
    ///
    /// # Errors
    /// A case that cannot be predicted; an output that cannot be written; a cancellation.
    pub fn validate(&mut self, save_probabilities: bool, ctx: Ctx<'_>) -> Result<Summary, TrainError> {
        self.setup.held.fresh.keep();
        self.exchange_average()?;
        let summary = self.validate_session(save_probabilities, ctx);
        self.exchange_average()?;
        let summary = summary?;
        self.records.line("Validation complete")?;
        self.say(&format!("Mean Validation Dice: {}", summary.foreground_mean.dice), ctx.progress)?;
        Ok(summary)
    }

    fn validate_session(&mut self, save_probabilities: bool, ctx: Ctx<'_>) -> Result<Summary, TrainError> {
        let setup = &self.setup;
        Validation {
            spec: &setup.spec()?,
            preprocessed: &setup.preprocessed,
            previous_stage: setup.previous_stage.as_deref(),
            cases: &setup.validation_cases,
            references: &setup.preprocessed.join("gt_segmentations"),
            folder: &setup.folder,
            save_probabilities,
            has_checkpoint: !self.unsaved,
        }
        .run(self.session.inference(), ctx)
    }

    /// Says something to the user and to the log.
    pub(super) fn say(&self, line: &str, progress: &dyn Progress) -> Result<(), TrainError> {
        progress.event(Event::Message(line));
        self.records.line(line)
    }

    /// Warns the user and the log.
    pub(super) fn warn(&self, warning: &str, progress: &dyn Progress) -> Result<(), TrainError> {
        progress.event(Event::Warning(warning));
        self.records.line(&format!("WARNING: {warning}"))
    }
}

/// The groups of parameters that the recipe names.
fn groups(recipe: &Recipe) -> Vec<ParameterGroup> {
    let group = |rule: &GroupRule| ParameterGroup {
        members: Members::Prefixes(rule.prefixes.clone()),
        rate_factor: rule.rate_factor,
    };
    recipe.parameter_groups.iter().map(group).collect()
}

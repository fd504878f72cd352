//! A training from its request to its final checkpoint: what is put together, and the loop over epochs.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nnunet_graph::backend::{StepError, StepSpec, TrainingSession};
use nnunet_graph::loss::{LossSpec, OverlapCounts, ScaleLossSpec};
use nnunet_graph::optimiser::{OptimiserSpec, SgdOptions};
use nnunet_graph::{Graph, init};
use nnunet_pyformats::pickle::Value;

use super::batch::{Batch, BatchComposer, BatchError, Preparation};
use super::case_source::{CachedCase, CaseSource, MemoryBudget};
use super::error::TrainError;
use super::loader::{BatchLoader, LoaderError, LoaderSettings};
use super::log_file::LogFile;
use super::progress_plot::write_progress_plot;
use super::request::{Start, TrainRequest};
use super::run_folder::RunFolder;
use super::schedule::PolynomialDecay;
use super::state::{self, Identity, Rates};
use super::stored_source::StoredSource;
use super::validate::Validation;
use crate::augment::policy::deep_supervision_scales;
use crate::augment::{AugmentationPolicy, ConfigurationFacts};
use nnunet_assess::evaluate::Summary;
use nnunet_base::Ctx;
use nnunet_base::lock::{FolderLock, Hold, LockRequest, lock_beside};
use nnunet_base::progress::{Cancel, Event, Progress};
use nnunet_data::dataset::labels::stored_label;
use nnunet_data::dataset::splits::{Fold, Split, split_for_fold};
use nnunet_data::dataset::{DatasetJson, Folders, LabelManager, Patients};
use nnunet_data::plan::{Configuration, Plans};
use nnunet_data::preprocess::{PreviousStage, check_made_from, stored_cases};
use nnunet_infer::model::{Recipe, network_graph, previous_stage_labels};
use nnunet_pyformats::json::Json;

/// Preprocessed cases stay in memory up to this many bytes.
const CASE_MEMORY: usize = 2 << 30;

/// A training that is put together and can run.
pub struct Training {
    pub(super) request: TrainRequest,
    pub(super) folder: RunFolder,
    pub(super) plans: Plans,
    pub(super) configuration: Configuration,
    pub(super) dataset: DatasetJson,
    labels: LabelManager,
    pub(super) preprocessed: PathBuf,
    /// In a cascade, the folder of the previous stage's segmentations.
    previous_stage: Option<PathBuf>,
    train_cases: Vec<String>,
    validation_cases: Vec<String>,
    pub(super) policy: AugmentationPolicy,
    pub(super) graph: Graph,
    pub(super) session: Box<dyn TrainingSession>,
    optimiser_options: SgdOptions,
    schedule: PolynomialDecay,
    pub(super) identity: Identity,
    state: state::Progress,
    /// Whether the training began without a state and has saved none of its own yet.
    unsaved: bool,
    pub(super) log: LogFile,
    /// Held for the whole run: nobody else trains this fold, and nobody preprocesses its cases.
    _locks: [Option<FolderLock>; 2],
}

impl Training {
    /// Reads plans, dataset and splits, builds the network and puts the starting state into it.
    ///
    /// # Errors
    /// Anything missing, damaged or contradictory, another run on the fold, or results that cannot be written; nothing of an earlier run
    /// is changed then.
    pub fn prepare(
        request: TrainRequest,
        folders: &Folders,
        progress: &dyn Progress,
    ) -> Result<Self, TrainError> {
        let name = request.dataset.as_str();
        let preprocessed = folders.preprocessed()?.join(name);
        let plans = Plans::of_dataset(&preprocessed, &request.plans)?;
        let mut configuration = plans.configuration(&request.configuration)?;
        if let Some(batch_size) = request.batch_size {
            configuration = configuration.with_batch_size(batch_size);
        }
        let dataset = DatasetJson::load(&preprocessed.join("dataset.json"))?;
        let labels = plans.label_manager(&dataset, &request.data_parts)?;
        let cases_folder = preprocessed.join(&configuration.data_identifier);
        let folder = RunFolder::new(
            folders.results()?,
            name,
            &request.recipe.trainer,
            plans.plans_name(),
            &configuration.name,
            request.fold,
        );
        let locks = take_locks(&folder, &cases_folder, &request, progress)?;
        folder
            .check_writable(&configuration.next_stage)
            .map_err(|(path, source)| TrainError::Io { path, source })?;
        let identifiers = stored_cases(&cases_folder)?;
        check_made_from(&cases_folder, &identifiers, &plans, &configuration, &dataset, &request.data_parts)?;
        let patients = Patients::load(&preprocessed)?;
        let splits = preprocessed.join("splits_final.json");
        let chosen = split_for_fold(&splits, &identifiers, patients.as_ref(), request.fold)?;
        let recipe = &request.recipe;
        let previous_stage = match &configuration.previous_stage {
            Some(previous) => {
                let model = RunFolder::new(
                    folders.results()?,
                    name,
                    &recipe.trainer,
                    plans.plans_name(),
                    previous,
                    request.fold,
                );
                let folder = model.next_stage(&configuration.name);
                check_previous_stage(&folder, previous, &configuration.name, &chosen.split)?;
                Some(folder)
            }
            None => None,
        };
        let mut policy = AugmentationPolicy::default_for(&facts(&configuration, &labels, recipe)?)?;
        if !recipe.mirroring {
            policy.mirror.axes = [false; 3];
        }
        let mirroring_axes = recipe.mirroring.then(|| policy.geometry.mirror_axes());

        let graph = network_graph(&configuration, &dataset, &labels, recipe.deep_supervision)?;
        let parameters = init::initialise(&graph, request.seed);
        let optimiser_options =
            SgdOptions { momentum: recipe.momentum, weight_decay: recipe.weight_decay, nesterov: true };
        let step = StepSpec {
            loss: loss(&configuration, &labels, graph.outputs().len())?,
            optimiser: OptimiserSpec::Sgd(optimiser_options),
            gradient_norm_limit: recipe.gradient_norm_limit,
        };
        let mut session = request.backend.training(&graph, parameters, &step)?;

        let state = starting_state(&request.start, &folder, &graph, &mut *session, progress)?;
        let io = |path: &Path, source| TrainError::Io { path: path.to_owned(), source };
        let log = LogFile::create(folder.fold(), &jiff::Zoned::now()).map_err(|e| io(folder.fold(), e))?;
        let identity = Identity {
            trainer: recipe.class_in_reference().to_owned(),
            init_args: init_args(&plans, &request, &dataset),
            mirroring_axes,
        };
        let training = Self {
            schedule: PolynomialDecay::new(recipe.initial_learning_rate, recipe.epochs),
            folder,
            plans,
            configuration,
            dataset,
            labels,
            preprocessed,
            previous_stage,
            train_cases: chosen.split.train,
            validation_cases: chosen.split.val,
            policy,
            graph,
            session,
            optimiser_options,
            identity,
            unsaved: state == state::Progress::default(),
            state,
            log,
            request,
            _locks: locks,
        };
        training.say(&format!("splits: {}", chosen.origin), progress)?;
        for warning in &chosen.warnings {
            progress.event(Event::Warning(warning));
            training.log_line(&format!("WARNING: {warning}"))?;
        }
        let counts = (training.train_cases.len(), training.validation_cases.len());
        let line = format!(
            "fold {}: {} training and {} validation cases",
            training.request.fold, counts.0, counts.1
        );
        training.say(&line, progress)?;
        Ok(training)
    }

    /// Where the results go.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Epochs that are complete.
    pub fn completed_epochs(&self) -> usize {
        self.state.epoch
    }

    /// Trains the epochs that are left and writes the final checkpoint.
    ///
    /// # Errors
    /// What goes wrong; [`TrainError::Interrupted`] after `cancel`, which says whether the state is saved.
    pub fn run(&mut self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        let recipe = self.request.recipe.clone();
        if self.state.epoch >= recipe.epochs {
            return self.say("all epochs are done already", ctx.progress);
        }
        self.check_memory(ctx.progress)?;
        self.write_companions()?;
        self.begin(ctx.progress)?;
        let mut training_batches = self.training_loader(ctx.cancel)?;
        let mut validation_batches = self.validation_loader(ctx.cancel)?;
        let stage = format!("train {} fold {}", self.configuration.name, self.request.fold);
        let total = (recipe.epochs * recipe.iterations_per_epoch) as u64;
        ctx.event(Event::Started { stage: &stage, total });
        while self.state.epoch < recipe.epochs {
            let epoch = self.state.epoch;
            let started = now();
            let rate = self.schedule.rate(epoch);
            self.log_line("")?;
            self.log_line(&format!("Epoch {epoch}"))?;
            self.log_line(&format!("Current learning rate: {}", rounded(rate, 5)))?;

            for iteration in self.state.epoch_losses.len()..recipe.iterations_per_epoch {
                let batch = match training_batches.next_batch() {
                    Ok(batch) if !ctx.is_cancelled() => batch,
                    outcome => return Err(self.stop(rate, outcome.err(), ctx.cancel)?),
                };
                let step = self.session.step(batch.view(), rate);
                let step = step.map_err(|source| step_error(source, epoch, iteration, &batch))?;
                self.state.epoch_losses.push(step.loss);
                let done = (epoch * recipe.iterations_per_epoch + iteration + 1) as u64;
                let detail = self.iteration_detail(step.loss);
                ctx.event(Event::Advanced { done, detail: &detail });
            }

            let mut losses = Vec::with_capacity(recipe.validation_iterations);
            let mut overlap: Vec<OverlapCounts> = Vec::new();
            for iteration in 0..recipe.validation_iterations {
                let batch = match validation_batches.next_batch() {
                    Ok(batch) if !ctx.is_cancelled() => batch,
                    outcome => return Err(self.stop(rate, outcome.err(), ctx.cancel)?),
                };
                let step = self.session.evaluate(batch.view());
                let step = step.map_err(|source| step_error(source, epoch, iteration, &batch))?;
                losses.push(step.loss);
                overlap.resize(step.overlap.len(), OverlapCounts::default());
                overlap.iter_mut().zip(step.overlap).for_each(|(sum, counts)| sum.add(counts));
            }
            self.finish_epoch(started, rate, &losses, &overlap, ctx.progress)?;
        }
        ctx.event(Event::Finished);
        self.save(&self.folder.final_checkpoint(), self.schedule.rate(recipe.epochs - 1))?;
        if self.request.checkpointing {
            self.folder.remove_intermediate().map_err(|e| self.io(e))?;
        }
        self.log_line("Training done.")
    }

    /// Predicts and evaluates the validation cases with the present weights.
    ///
    /// # Errors
    /// A case that cannot be predicted; an output that cannot be written; `cancel`.
    pub fn validate(&mut self, save_probabilities: bool, ctx: Ctx<'_>) -> Result<Summary, TrainError> {
        let summary = Validation {
            plans: &self.plans,
            parts: &self.request.data_parts,
            configuration: &self.configuration,
            dataset: &self.dataset,
            labels: &self.labels,
            graph: &self.graph,
            mirroring_axes: self.identity.mirroring_axes.as_deref().unwrap_or(&[]),
            preprocessed: &self.preprocessed,
            previous_stage: self.previous_stage.as_deref(),
            cases: &self.validation_cases,
            references: &self.preprocessed.join("gt_segmentations"),
            folder: &self.folder,
            save_probabilities,
            max_ram: self.request.max_ram,
            has_checkpoint: !self.unsaved,
        }
        .run(self.session.inference(), ctx)?;
        self.log_line("Validation complete")?;
        self.say(&format!("Mean Validation Dice: {}", summary.foreground_mean.dice), ctx.progress)?;
        Ok(summary)
    }

    /// Notes in the folder that a new training begins, if this is one.
    fn begin(&self, progress: &dyn Progress) -> Result<(), TrainError> {
        if self.unsaved && self.request.checkpointing && self.folder.start_anew().map_err(|e| self.io(e))? {
            let warning = format!(
                "{}: has checkpoints of an earlier training, which stay until this one saves its own",
                self.folder.fold().display()
            );
            progress.event(Event::Warning(&warning));
            self.log_line(&format!("WARNING: {warning}"))?;
        }
        Ok(())
    }

    fn io(&self, source: std::io::Error) -> TrainError {
        TrainError::Io { path: self.folder.fold().to_owned(), source }
    }

    fn finish_epoch(
        &mut self,
        started: f64,
        rate: f64,
        validation_losses: &[f64],
        overlap: &[OverlapCounts],
        progress: &dyn Progress,
    ) -> Result<(), TrainError> {
        let history = &mut self.state.history;
        history.epoch_start_timestamps.push(started);
        history.lrs.push(rate);
        history.train_losses.push(mean(&self.state.epoch_losses));
        history.push_validation(mean(validation_losses), overlap.iter().map(OverlapCounts::dice).collect());
        history.epoch_end_timestamps.push(now());
        let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
        let train_loss = last(&history.train_losses);
        let validation_loss = last(&history.val_losses);
        let ema = last(&history.ema_fg_dice);
        let dice = history.dice_per_class_or_region.last().cloned().unwrap_or_default();
        let seconds = last(&history.epoch_end_timestamps) - started;
        self.state.epoch_losses.clear();
        let epoch = self.state.epoch;
        self.state.epoch += 1;

        let dice = dice.iter().map(|&d| rounded(d, 4).to_string()).collect::<Vec<_>>().join(", ");
        self.log_line(&format!("train_loss {}", rounded(train_loss, 4)))?;
        self.log_line(&format!("val_loss {}", rounded(validation_loss, 4)))?;
        self.log_line(&format!("Pseudo dice [{dice}]"))?;
        self.log_line(&format!("Epoch time: {} s", rounded(seconds, 2)))?;
        let message = format!(
            "epoch {epoch}: train loss {}, validation loss {}, pseudo Dice [{dice}], moving average {}, {} s",
            rounded(train_loss, 4),
            rounded(validation_loss, 4),
            rounded(ema, 4),
            rounded(seconds, 1)
        );
        progress.event(Event::Message(&message));

        let recipe = &self.request.recipe;
        let (save_every, epochs) = (recipe.save_every, recipe.epochs);
        if self.state.epoch.is_multiple_of(save_every) && self.state.epoch != epochs {
            self.save(&self.folder.latest_checkpoint(), rate)?;
        }
        if self.state.best_ema.is_none_or(|best| ema > best) {
            self.state.best_ema = Some(ema);
            self.log_line(&format!("New best moving average of the pseudo Dice: {}", rounded(ema, 4)))?;
            self.save(&self.folder.best_checkpoint(), rate)?;
        }
        let path = self.folder.fold().join("progress.png");
        write_progress_plot(&self.state.history, &path).map_err(|source| TrainError::Io { path, source })
    }

    /// The error of a run that ends early: an interruption saves the state first, if there is any.
    fn stop(
        &mut self,
        rate: f64,
        error: Option<LoaderError>,
        cancel: &Cancel,
    ) -> Result<TrainError, TrainError> {
        if let Some(error) = error
            && !cancel.is_cancelled()
            && !matches!(error, LoaderError::Batch(BatchError::Interrupted))
        {
            return Ok(error.into());
        }
        if self.unsaved && self.state == state::Progress::default() {
            self.folder.leave_as_it_was().map_err(|e| self.io(e))?;
            self.log_line("Interrupted before the first iteration")?;
            return Ok(TrainError::Interrupted { path: None });
        }
        let path = self.folder.latest_checkpoint();
        let path = self.save(&path, rate)?.then_some(path);
        match &path {
            Some(path) => self.log_line(&format!("Interrupted, state saved in {}", path.display()))?,
            None => self.log_line("Interrupted, no state saved")?,
        }
        Ok(TrainError::Interrupted { path })
    }

    /// Saves the state, unless no checkpoints are wanted; whether it did.
    fn save(&mut self, path: &Path, current: f64) -> Result<bool, TrainError> {
        if !self.request.checkpointing {
            return Ok(false);
        }
        let rates = Rates { current, initial: self.request.recipe.initial_learning_rate };
        let (snapshot, options) = (self.session.export()?, self.optimiser_options);
        state::save(path, &self.graph, snapshot, options, rates, &self.state, &self.identity).map_err(
            |source| TrainError::NotSaved {
                source: Box::new(source),
                kept: self.folder.resumable_checkpoint(),
            },
        )?;
        if self.unsaved {
            self.folder.supersede_earlier(path).map_err(|e| self.io(e))?;
            self.unsaved = false;
        }
        Ok(true)
    }

    fn iteration_detail(&self, loss: f64) -> String {
        let ema = self.state.history.ema_fg_dice.last();
        let dice = ema.map_or_else(String::new, |d| format!(", pseudo Dice {}", rounded(*d, 3)));
        format!("epoch {} loss {}{dice}", self.state.epoch, rounded(loss, 3))
    }

    fn training_loader(&self, cancel: &Cancel) -> Result<BatchLoader, TrainError> {
        let preparation = Preparation::Training(Box::new(self.policy.clone()));
        let done = self.state.epoch_losses.len();
        let iterations = self.request.recipe.iterations_per_epoch;
        self.loader(&self.train_cases, preparation, iterations, done, cancel)
    }

    fn validation_loader(&self, cancel: &Cancel) -> Result<BatchLoader, TrainError> {
        let finish = self.policy.finish.clone();
        let preparation = Preparation::Validation { finish, patch: self.policy.geometry.patch };
        let iterations = self.request.recipe.validation_iterations;
        self.loader(&self.validation_cases, preparation, iterations, 0, cancel)
    }

    fn loader(
        &self,
        cases: &[String],
        preparation: Preparation,
        iterations: usize,
        first_iteration: usize,
        cancel: &Cancel,
    ) -> Result<BatchLoader, TrainError> {
        let folder = self.preprocessed.join(&self.configuration.data_identifier);
        let budget = MemoryBudget::new(CASE_MEMORY);
        let sources = cases
            .iter()
            .map(|case| {
                let source = StoredSource::open(&folder, self.previous_stage.as_deref(), case, &self.labels)?;
                Ok(Arc::new(CachedCase::new(source, Arc::clone(&budget))) as Arc<dyn CaseSource>)
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        let composer = BatchComposer::new(
            sources,
            preparation,
            self.configuration.batch_size,
            self.request.recipe.foreground_oversampling,
            self.labels.ignore_label().is_some(),
            self.request.seed,
        )?;
        let settings = LoaderSettings {
            iterations_per_epoch: iterations as u64,
            first_epoch: self.state.epoch as u64,
            first_iteration: first_iteration as u64,
            threads: NonZeroUsize::new(self.request.backend.host_threads() / 2).unwrap_or(NonZeroUsize::MIN),
            ahead: NonZeroUsize::MIN.saturating_add(1),
        };
        Ok(BatchLoader::start(Arc::new(composer), &settings, cancel)?)
    }

    pub(super) fn say(&self, line: &str, progress: &dyn Progress) -> Result<(), TrainError> {
        progress.event(Event::Message(line));
        self.log_line(line)
    }

    pub(super) fn log_line(&self, line: &str) -> Result<(), TrainError> {
        let path = self.log.path();
        self.log.line(line).map_err(|source| TrainError::Io { path: path.to_owned(), source })
    }
}

/// Locks the fold for this run, and its cases together with other trainings.
fn take_locks(
    folder: &RunFolder,
    cases: &Path,
    request: &TrainRequest,
    progress: &dyn Progress,
) -> Result<[Option<FolderLock>; 2], TrainError> {
    std::fs::create_dir_all(folder.fold())
        .map_err(|source| TrainError::Io { path: folder.fold().to_owned(), source })?;
    let what = format!("a training of {} {} fold {}", request.dataset, request.configuration, request.fold);
    let fold = LockRequest {
        folder: folder.fold(),
        file: &folder.lock(),
        hold: Hold::Alone,
        what: &what,
        advice: "wait for it to end or stop it; other folds, trainers and plans can be trained at the same time",
    };
    let cases = LockRequest {
        folder: cases,
        file: &lock_beside(cases),
        hold: Hold::Together,
        what: &what,
        advice: "train when it has ended",
    };
    Ok([fold.take(progress)?, cases.take(progress)?])
}

/// Puts the starting weights and state into `session`, which trains `graph`.
fn starting_state(
    start: &Start,
    folder: &RunFolder,
    graph: &Graph,
    session: &mut dyn TrainingSession,
    progress: &dyn Progress,
) -> Result<state::Progress, TrainError> {
    match start {
        Start::New => Ok(state::Progress::default()),
        Start::Pretrained(path) => {
            state::load_pretrained(path, graph, session)?;
            Ok(state::Progress::default())
        }
        Start::From(path) if !path.is_file() => Err(TrainError::NoCheckpoint {
            path: path.clone(),
            advice: "validation needs it: finish the training (train ... --c), or validate with the other checkpoint \
                     (--val with or without --val_best)",
        }),
        Start::From(path) => state::load(path, graph, session),
        Start::Resume => match folder.resumable_checkpoint() {
            Some(path) => {
                let state = state::load(&path, graph, session)?;
                let line = format!("continuing from {}, epoch {}", path.display(), state.epoch);
                progress.event(Event::Message(&line));
                Ok(state)
            }
            None => {
                let why = match folder.has_outdated_checkpoints() {
                    true => "the training that was started last has saved nothing",
                    false => "no checkpoint to continue from",
                };
                let text = format!("{}: {why}, starting anew", folder.fold().display());
                progress.event(Event::Warning(&text));
                Ok(state::Progress::default())
            }
        },
    }
}

/// Every case of a cascade's training needs the previous stage's segmentation.
fn check_previous_stage(
    folder: &Path,
    previous: &str,
    configuration: &str,
    split: &Split,
) -> Result<(), TrainError> {
    let mut missing: Vec<&str> = split
        .train
        .iter()
        .chain(&split.val)
        .filter(|case| !PreviousStage::exists(folder, case))
        .map(String::as_str)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let mut names = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if missing.len() > 5 {
        names.push_str(&format!(" and {} more", missing.len() - 5));
    }
    Err(TrainError::PreviousStage {
        folder: folder.to_owned(),
        configuration: configuration.to_owned(),
        previous: previous.to_owned(),
        missing: names,
    })
}

fn facts(
    configuration: &Configuration,
    labels: &LabelManager,
    recipe: &Recipe,
) -> Result<ConfigurationFacts, TrainError> {
    let stored = |values: &[i32]| values.iter().map(|&v| stored_label(v)).collect::<Result<Vec<_>, _>>();
    Ok(ConfigurationFacts {
        patch_size: configuration.patch_size.clone(),
        use_mask_for_norm: configuration.use_mask_for_norm.clone(),
        deep_supervision_scales: match recipe.deep_supervision {
            true => Some(deep_supervision_scales(&configuration.strides()?)),
            false => None,
        },
        regions: labels
            .has_regions()
            .then(|| labels.foreground_regions().iter().map(|region| stored(region.values())).collect())
            .transpose()?,
        ignore_label: labels.ignore_label().map(stored_label).transpose()?,
        cascade_labels: match configuration.previous_stage {
            Some(_) => Some(previous_stage_labels(labels)?),
            None => None,
        },
    })
}

fn loss(
    configuration: &Configuration,
    labels: &LabelManager,
    outputs: usize,
) -> Result<LossSpec, TrainError> {
    let batch_dice = configuration.batch_dice;
    let loss = if labels.has_regions() {
        let has_ignore = labels.ignore_label().is_some();
        ScaleLossSpec::DiceAndBinaryCrossEntropy { batch_dice, has_ignore }
    } else {
        let ignore_label = labels.ignore_label().map(stored_label).transpose()?;
        ScaleLossSpec::DiceAndCrossEntropy { batch_dice, ignore_label }
    };
    Ok(LossSpec::deep_supervision(loss, outputs))
}

fn step_error(source: StepError, epoch: usize, iteration: usize, batch: &Batch) -> TrainError {
    TrainError::Step { epoch, iteration, cases: batch.cases.join(", "), source }
}

/// The constructor's arguments of the reference's trainer.
fn init_args(plans: &Plans, request: &TrainRequest, dataset: &DatasetJson) -> Value {
    let json = |document: Json| Value::from_json(&document.into());
    let fold = match request.fold {
        Fold::Number(number) => Value::Int(i64::from(number)),
        Fold::All => Value::Str("all".to_owned()),
    };
    let device = Value::object("torch", "device", vec![Value::Str("cpu".to_owned())]);
    let entries = [
        ("plans", json(plans.to_json())),
        ("configuration", Value::Str(request.configuration.clone())),
        ("fold", fold),
        ("dataset_json", json(dataset.document().clone())),
        ("device", device),
    ];
    Value::Dict(entries.into_iter().map(|(key, value)| (Value::Str(key.to_owned()), value)).collect())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// `value` with at most `digits` decimals, as NumPy prints rounded numbers.
fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

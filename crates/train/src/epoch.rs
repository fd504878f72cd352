//! One epoch: steps of learning, evaluation of validation batches, and what is recorded of both.

use std::time::{SystemTime, UNIX_EPOCH};

use nnunet_base::Ctx;
use nnunet_base::progress::{EpochReport, Event};
use nnunet_graph::Tensor;
use nnunet_graph::backend::{StepError, StepReport};
use nnunet_graph::loss::OverlapCounts;
use nnunet_graph::optimiser::Rates;

use super::batch::Batch;
use super::data::{Loaders, Position, Sources, TimedLoader};
use super::diagnosis::diagnose;
use super::error::TrainError;
use super::hook::{FinishedStep, StepAddress};
use super::loader::LoaderError;
use super::observers::rounded;
use super::sample_picture::sample_picture;
use super::single_sample::single_sample;
use super::trainer::Training;

impl Training {
    /// Trains one epoch, or what is left of an interrupted one, evaluates it and saves what is due.
    ///
    /// # Errors
    /// What goes wrong; [`TrainError::Interrupted`] after a cancellation, which says whether the state is saved;
    /// [`TrainError::Complete`] after the last epoch.
    pub fn next_epoch(&mut self, ctx: Ctx<'_>) -> Result<EpochReport, TrainError> {
        self.train_epoch(ctx).map_err(|error| self.with_kept_checkpoint(error))
    }

    fn train_epoch(&mut self, ctx: Ctx<'_>) -> Result<EpochReport, TrainError> {
        if self.is_complete() {
            return Err(TrainError::Complete { epochs: self.setup.request.recipe.epochs });
        }
        self.begin(ctx)?;
        let mut loaders = match self.loaders.take() {
            Some(loaders) => loaders,
            None => self.start_loaders(ctx)?,
        };
        let started = now();
        let rate = self.setup.schedule.rate(self.state.epoch);
        self.records.epoch_started(self.state.epoch, rate)?;
        self.learn(&mut loaders.training, rate, ctx)?;
        self.evaluate(&mut loaders.validation, rate, ctx)?;
        let report = self.complete_epoch(started, loaders.take_waited(), rate);
        self.loaders = Some(loaders);
        self.records.epoch_finished(&report)?;
        ctx.event(Event::EpochFinished(&report));
        self.save_epoch(&report)?;
        self.records.draw(&self.state.history)?;
        Ok(report)
    }

    fn start_loaders(&self, ctx: Ctx<'_>) -> Result<Loaders, TrainError> {
        let sources = match &self.sources {
            Some(sources) => sources.clone(),
            None => Sources::stored(&self.setup)?,
        };
        let at = Position {
            epoch: self.state.epoch,
            iteration: self.state.epoch_losses.len(),
            validation_iteration: self.state.evaluation.losses.len(),
        };
        Loaders::start(&self.setup, sources, at, ctx.cancel)
    }

    /// The training iterations that are left of the epoch.
    fn learn(&mut self, batches: &mut TimedLoader, rate: f64, ctx: Ctx<'_>) -> Result<(), TrainError> {
        let (epoch, iterations) = (self.state.epoch, self.setup.request.recipe.iterations_per_epoch);
        for iteration in self.state.epoch_losses.len()..iterations {
            let mut batch = self.received(batches.next_batch(), rate, ctx)?;
            let report = self.step(&mut batch, StepAddress { epoch, iteration }, rate, ctx)?;
            self.state.epoch_losses.push(report.loss);
            let done = (epoch * iterations + iteration + 1) as u64;
            ctx.event(Event::Advanced { done, detail: &self.iteration_detail(report.loss) });
            self.save_if_due(rate)?;
        }
        Ok(())
    }

    /// One step with everything that takes part in it.
    fn step(
        &mut self,
        batch: &mut Batch,
        at: StepAddress,
        rate: f64,
        ctx: Ctx<'_>,
    ) -> Result<StepReport, TrainError> {
        for hook in &mut self.hooks {
            hook.before_step(at, batch).map_err(|source| hook_error(source, at))?;
        }
        if let Some(teacher) = &mut self.teacher {
            teacher.answer(batch)?;
        }
        let rates = Rates { base: rate, factors: self.rate_factors.of_epoch(at.epoch) };
        let report = if self.hooks.iter().any(|hook| hook.adjusts_gradients()) {
            let hooks = &mut self.hooks;
            self.session.step_with(batch.view(), rates, &mut |parameters| {
                for hook in hooks.iter_mut().filter(|hook| hook.adjusts_gradients()) {
                    hook.adjust_gradients(at, batch, parameters);
                }
            })
        } else {
            self.session.step(batch.view(), rates)
        };
        let report = report.map_err(|source| self.step_error(source, at, batch, ctx))?;
        if let Some(average) = &mut self.average {
            average.follow(&mut *self.session)?;
        }
        for hook in &mut self.hooks {
            let mut step = FinishedStep { at, batch, report, session: &mut *self.session };
            hook.after_step(&mut step).map_err(|source| hook_error(source, at))?;
        }
        if let Some(teacher) = &mut self.teacher {
            teacher.take_back(batch);
        }
        Ok(report)
    }

    /// The validation iterations that are left of the epoch, with the averaged weights if there are any.
    fn evaluate(&mut self, batches: &mut TimedLoader, rate: f64, ctx: Ctx<'_>) -> Result<(), TrainError> {
        self.exchange_average()?;
        let evaluated = self.evaluate_batches(batches, rate, ctx);
        self.exchange_average()?;
        evaluated
    }

    fn evaluate_batches(
        &mut self,
        batches: &mut TimedLoader,
        rate: f64,
        ctx: Ctx<'_>,
    ) -> Result<(), TrainError> {
        let epoch = self.state.epoch;
        let iterations = self.setup.request.recipe.validation_iterations;
        for iteration in self.state.evaluation.losses.len()..iterations {
            let batch = self.received(batches.next_batch(), rate, ctx)?;
            let report = self.session.evaluate(batch.view());
            let report =
                report.map_err(|e| self.step_error(e, StepAddress { epoch, iteration }, &batch, ctx))?;
            let evaluation = &mut self.state.evaluation;
            evaluation.losses.push(report.loss);
            let sums = &mut evaluation.overlap;
            sums.resize(report.overlap.len(), OverlapCounts::default());
            sums.iter_mut().zip(report.overlap).for_each(|(sum, counts)| sum.add(counts));
            if iteration + 1 == iterations && self.records.wants_picture(epoch) {
                self.draw_sample(&batch)?;
            }
            self.save_if_due(rate)?;
        }
        Ok(())
    }

    /// Records a picture of the first sample of a validation batch with its prediction.
    fn draw_sample(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let sample = single_sample(batch, 0);
        let mut logits = Tensor { shape: [0; 5], data: Vec::new() };
        self.session.inference().run_into(&sample.image, &mut logits)?;
        match sample_picture(&sample, &logits) {
            Some(picture) => self.records.add_picture(self.state.epoch, &picture),
            None => Ok(()),
        }
    }

    /// The batch, unless the training has to stop.
    fn received(
        &mut self,
        batch: Result<Batch, LoaderError>,
        rate: f64,
        ctx: Ctx<'_>,
    ) -> Result<Batch, TrainError> {
        match batch {
            Ok(batch) if !ctx.is_cancelled() => Ok(batch),
            outcome => Err(self.stop(rate, outcome.err(), ctx.cancel)?),
        }
    }

    /// Puts the epoch into the curves.
    fn complete_epoch(&mut self, started: f64, waited: f64, rate: f64) -> EpochReport {
        let state = &mut self.state;
        let evaluation = std::mem::take(&mut state.evaluation);
        let pseudo_dice: Vec<f64> = evaluation.overlap.iter().map(OverlapCounts::dice).collect();
        let (train_loss, validation_loss) = (mean(&state.epoch_losses), mean(&evaluation.losses));
        let ended = now();
        let history = &mut state.history;
        history.epoch_start_timestamps.push(started);
        history.lrs.push(rate);
        history.train_losses.push(train_loss);
        history.push_validation(validation_loss, pseudo_dice.clone());
        history.epoch_end_timestamps.push(ended);
        let moving_average = history.ema_fg_dice.last().copied().unwrap_or(f64::NAN);
        let seconds = ended - started;
        let is_best = state.best_ema.is_none_or(|best| moving_average > best);
        state.epoch_losses.clear();
        state.epoch += 1;
        EpochReport {
            epoch: state.epoch - 1,
            train_loss,
            validation_loss,
            pseudo_dice,
            moving_average,
            is_best,
            learning_rate: rate,
            seconds,
            waiting: if seconds > 0.0 { (waited / seconds).min(1.0) } else { 0.0 },
        }
    }

    /// The error of a step, with what in the batch it comes from.
    fn step_error(&self, source: StepError, at: StepAddress, batch: &Batch, ctx: Ctx<'_>) -> TrainError {
        let StepAddress { epoch, iteration } = at;
        let causes = match source {
            StepError::NotFinite { .. } => diagnose(&self.setup, &*self.session, batch, ctx.memory_limit()),
            StepError::Network(_) | StepError::Loss(_) => Vec::new(),
        };
        TrainError::Step { epoch, iteration, causes, source }
    }

    fn iteration_detail(&self, loss: f64) -> String {
        let ema = self.state.history.ema_fg_dice.last();
        let dice = ema.map_or_else(String::new, |d| format!(", pseudo Dice {}", rounded(*d, 3)));
        format!("epoch {} loss {}{dice}", self.state.epoch, rounded(loss, 3))
    }
}

fn hook_error(source: super::hook::HookError, at: StepAddress) -> TrainError {
    TrainError::Hook { epoch: at.epoch, iteration: at.iteration, source }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

//! When a training writes its state, and what becomes of the checkpoints of an earlier one.

use std::path::Path;
use std::time::Instant;

use nnunet_base::Ctx;
use nnunet_base::progress::{Cancel, EpochReport, Event, Interrupted};

use super::batch::BatchError;
use super::error::TrainError;
use super::loader::LoaderError;
use super::observers::class_names;
use super::request::Start;
use super::state::{self, Rates};
use super::trainer::Training;

impl Training {
    /// What happens once before the first step: memory is checked, the companions of the results are written, and checkpoints
    /// of an earlier training are marked.
    pub(super) fn begin(&mut self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        if self.begun {
            return Ok(());
        }
        self.check_memory(ctx)?;
        self.setup.held.fresh.keep();
        self.setup.folder.remove_unfinished().map_err(|e| self.setup.io(e))?;
        self.write_companions()?;
        let classes = class_names(&self.setup.dataset, &self.setup.labels);
        self.records.begin(&self.setup.request.recipe, self.state.epoch, classes)?;
        let setup = &self.setup;
        if self.unsaved
            && setup.request.checkpointing
            && setup.folder.start_anew().map_err(|e| setup.io(e))?
        {
            let warning = format!(
                "{}: has checkpoints of an earlier training, which stay until this one saves its own",
                setup.folder.fold().display()
            );
            self.warn(&warning, ctx.progress)?;
        }
        let recipe = &setup.request.recipe;
        let stage = format!("train {} fold {}", setup.configuration.name, setup.request.fold);
        let total = (recipe.epochs * recipe.iterations_per_epoch) as u64;
        ctx.event(Event::Started { stage: &stage, total });
        self.begun = true;
        self.saved_at = Instant::now();
        // Without it, a training that is killed before its first checkpoint could not go on from these weights.
        if matches!(self.setup.request.start, Start::Pretrained(_)) {
            self.save(&self.setup.folder.latest_checkpoint(), self.setup.schedule.rate(self.state.epoch))?;
        }
        Ok(())
    }

    /// Writes the final checkpoint; of the others, only the best one stays.
    ///
    /// # Errors
    /// A checkpoint that cannot be written; [`TrainError::Incomplete`] while epochs are left.
    pub fn finish(&mut self, ctx: Ctx<'_>) -> Result<(), TrainError> {
        let epochs = self.setup.request.recipe.epochs;
        if !self.is_complete() {
            return Err(TrainError::Incomplete { done: self.state.epoch, epochs });
        }
        self.loaders = None;
        ctx.event(Event::Finished);
        self.save(&self.setup.folder.final_checkpoint(), self.setup.schedule.rate(epochs - 1))?;
        if self.setup.request.checkpointing {
            self.setup.folder.remove_intermediate().map_err(|e| self.setup.io(e))?;
        }
        self.records.line("Training done.")
    }

    /// Writes the checkpoints that are due after an epoch.
    pub(super) fn save_epoch(&mut self, report: &EpochReport) -> Result<(), TrainError> {
        // The best checkpoint comes first: the latest one states its average, so a training that goes on from there must
        // find it.
        if report.is_best {
            self.state.best_ema = Some(report.moving_average);
            self.save(&self.setup.folder.best_checkpoint(), report.learning_rate)?;
        }
        let recipe = &self.setup.request.recipe;
        let is_due = self.state.epoch.is_multiple_of(recipe.save_every) || self.is_save_due();
        if is_due && self.state.epoch != recipe.epochs {
            self.save(&self.setup.folder.latest_checkpoint(), report.learning_rate)?;
        }
        Ok(())
    }

    /// Whether the state was saved so long ago that it has to be saved within the epoch.
    fn is_save_due(&self) -> bool {
        self.saved_at.elapsed().as_secs_f64() >= 60.0 * self.setup.request.recipe.save_minutes
    }

    /// Writes the latest checkpoint within an epoch at `rate` if the last one is too old.
    pub(super) fn save_if_due(&mut self, rate: f64) -> Result<(), TrainError> {
        if self.is_save_due() {
            self.save(&self.setup.folder.latest_checkpoint(), rate)?;
        }
        Ok(())
    }

    /// The error with the checkpoint to go on from, if it is that of a record that could not be written.
    pub(super) fn with_kept_checkpoint(&self, error: TrainError) -> TrainError {
        match error {
            TrainError::Io { path, source } if self.begun => {
                TrainError::NotRecorded { path, source, kept: self.setup.folder.resumable_checkpoint() }
            }
            other => other,
        }
    }

    /// The error of a run that ends early: an interruption saves the state first, if there is any.
    pub(super) fn stop(
        &mut self,
        rate: f64,
        error: Option<LoaderError>,
        cancel: &Cancel,
    ) -> Result<TrainError, TrainError> {
        if let Some(error) = error
            && !cancel.is_cancelled()
            && !matches!(error, LoaderError::Batch(BatchError::Interrupted(_)))
        {
            return Ok(error.into());
        }
        if self.unsaved && self.state == state::Progress::default() {
            self.setup.folder.leave_as_it_was().map_err(|e| self.setup.io(e))?;
            self.records.line("Interrupted before the first iteration")?;
            return Ok(TrainError::Interrupted { path: None, source: Interrupted });
        }
        let path = self.setup.folder.latest_checkpoint();
        let path = self.save(&path, rate)?.then_some(path);
        match &path {
            Some(path) => self.records.line(&format!("Interrupted, state saved in {}", path.display()))?,
            None => self.records.line("Interrupted, no state saved")?,
        }
        Ok(TrainError::Interrupted { path, source: Interrupted })
    }

    /// Saves the state, unless no checkpoints are wanted; whether it did.
    pub(super) fn save(&mut self, path: &Path, current: f64) -> Result<bool, TrainError> {
        let setup = &self.setup;
        if !setup.request.checkpointing {
            return Ok(false);
        }
        let rates = Rates { current, initial: setup.request.recipe.initial_learning_rate };
        let mut snapshot = self.session.export()?;
        let average = self.average.as_ref().map(|average| average.separate(&mut snapshot.parameters));
        let aside = if self.unsaved { setup.folder.set_aside(path).map_err(|e| setup.io(e))? } else { None };
        let saved = state::save(
            path,
            &setup.graph,
            snapshot,
            average,
            &setup.step.optimiser,
            rates,
            self.session.gradient_scale(),
            &self.state,
            &setup.identity,
        );
        if let Err(source) = saved {
            if let Some(aside) = aside {
                aside.take_back().map_err(|e| setup.io(e))?;
            }
            let kept = setup.folder.resumable_checkpoint();
            return Err(TrainError::NotSaved { source: Box::new(source), kept });
        }
        // A training goes on from the latest checkpoint, not from the best one, where there is one.
        if path != setup.folder.best_checkpoint() {
            self.saved_at = Instant::now();
        }
        if self.unsaved {
            setup.folder.supersede_earlier(path).map_err(|e| setup.io(e))?;
            self.unsaved = false;
        }
        Ok(true)
    }
}

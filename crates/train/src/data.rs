//! The batches of a training: from stored cases, or from sources that a caller gives.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nnunet_base::progress::Cancel;

use super::batch::{Batch, BatchComposer, Preparation};
use super::case_source::{CachedCase, CaseSource, MemoryBudget};
use super::error::TrainError;
use super::loader::{BatchLoader, LoaderError, LoaderSettings};
use super::random_batch::random_batch;
use super::setup::Setup;
use super::stored_source::StoredSource;

/// Preprocessed cases stay in memory up to this many bytes.
const CASE_MEMORY: usize = 2 << 30;

/// Cases to learn from and to validate the epochs with.
#[derive(Clone)]
pub struct Sources {
    /// Cases that training batches are drawn from.
    pub training: Vec<Arc<dyn CaseSource>>,
    /// Cases that validation batches are drawn from.
    pub validation: Vec<Arc<dyn CaseSource>>,
}

impl Sources {
    /// The preprocessed cases of the fold.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub(super) fn stored(setup: &Setup) -> Result<Self, TrainError> {
        let folder = setup.cases_folder();
        let open = |cases: &[String]| {
            let budget = MemoryBudget::new(CASE_MEMORY);
            cases
                .iter()
                .map(|case| {
                    let previous = setup.previous_stage.as_deref();
                    let source = StoredSource::open(&folder, previous, case, &setup.dataset, &setup.labels)?;
                    Ok(Arc::new(CachedCase::new(source, Arc::clone(&budget))) as Arc<dyn CaseSource>)
                })
                .collect::<Result<Vec<_>, TrainError>>()
        };
        Ok(Self { training: open(&setup.train_cases)?, validation: open(&setup.validation_cases)? })
    }
}

/// The loaders of a running training.
pub(super) struct Loaders {
    pub training: TimedLoader,
    pub validation: TimedLoader,
}

/// Where the loaders begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Training iterations of that epoch that are done.
    pub iteration: usize,
    /// Validation iterations of that epoch that are done.
    pub validation_iteration: usize,
}

impl Loaders {
    /// Loaders of batches of `sources` from `at` on.
    ///
    /// # Errors
    /// No cases, no threads.
    pub(super) fn start(
        setup: &Setup,
        sources: Sources,
        at: Position,
        cancel: &Cancel,
    ) -> Result<Self, TrainError> {
        let recipe = &setup.request.recipe;
        let threads = recipe.loader_threads.unwrap_or(setup.request.backend.loader_threads());
        let (policy, finish) = (&setup.policy, setup.policy.finish.clone());
        let start = |sources, preparation, iterations: usize, first_iteration: usize| {
            let composer = BatchComposer::new(
                sources,
                preparation,
                setup.configuration.batch_size,
                Arc::clone(&setup.sampling),
                setup.labels.ignore_label().is_some(),
                setup.request.seed,
            )?;
            let settings = LoaderSettings {
                iterations_per_epoch: iterations as u64,
                first_epoch: at.epoch as u64,
                first_iteration: first_iteration as u64,
                threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
                ahead: NonZeroUsize::MIN.saturating_add(1),
            };
            let loader = BatchLoader::start(Arc::new(composer), &settings, cancel)?;
            Ok::<_, TrainError>(TimedLoader::new(Batches::Loaded(loader)))
        };
        if recipe.random_batch {
            let batch = random_batch(setup);
            let validation = TimedLoader::new(Batches::Repeated(Box::new(batch.clone())));
            return Ok(Self { training: TimedLoader::new(Batches::Repeated(Box::new(batch))), validation });
        }
        let training = Preparation::Training(Box::new(policy.clone()));
        let validation = Preparation::Validation { finish, patch: policy.geometry.patch };
        Ok(Self {
            training: start(sources.training, training, recipe.iterations_per_epoch, at.iteration)?,
            validation: start(
                sources.validation,
                validation,
                recipe.validation_iterations,
                at.validation_iteration,
            )?,
        })
    }

    /// Seconds that were spent waiting for batches since this was asked last.
    pub(super) fn take_waited(&mut self) -> f64 {
        let take = |loader: &mut TimedLoader| std::mem::take(&mut loader.waited).as_secs_f64();
        take(&mut self.training) + take(&mut self.validation)
    }
}

/// Batches with how long they were waited for.
pub(super) struct TimedLoader {
    batches: Batches,
    waited: Duration,
}

/// Where batches come from.
enum Batches {
    /// From loader threads.
    Loaded(BatchLoader),
    /// It is always the same one.
    Repeated(Box<Batch>),
}

impl TimedLoader {
    fn new(batches: Batches) -> Self {
        Self { batches, waited: Duration::ZERO }
    }

    /// The next batch in order; waits until it is made.
    pub(super) fn next_batch(&mut self) -> Result<Batch, LoaderError> {
        let asked = Instant::now();
        let batch = match &mut self.batches {
            Batches::Loaded(loader) => loader.next_batch(),
            Batches::Repeated(batch) => Ok((**batch).clone()),
        };
        self.waited += asked.elapsed();
        batch
    }
}

//! Loader threads: batches are made while the network works, and arrive in order.
//!
//! Thread t of T makes the batches t, t + T, ... and hands them over through a bounded channel of its
//! own, so the trainer gets batch i whatever the number of threads, and no thread runs far ahead.
//! Dropping the loader stops and joins its threads.

use super::batch::{Batch, BatchComposer, BatchError};
use crossbeam_channel::{Receiver, Sender, bounded};
use nnunet_augment::Scratch;
use nnunet_base::progress::Cancel;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Where a loader begins and how far it works ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderSettings {
    /// Iterations that make an epoch.
    pub iterations_per_epoch: u64,
    /// Epoch of the first batch, counted from 0; a resumed run continues where it stopped.
    pub first_epoch: u64,
    /// Iteration of that epoch at which to begin, counted from 0.
    pub first_iteration: u64,
    /// Number of threads.
    pub threads: NonZeroUsize,
    /// Finished batches that wait for the trainer, per thread.
    pub ahead: NonZeroUsize,
}

/// Errors of the loader.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// A batch could not be made.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The system gave no thread.
    #[error("cannot start a loader thread: {0}; close other programs or use fewer loader threads")]
    Thread(std::io::Error),
    /// A thread ended without a word, or the loader was asked for more after an error.
    #[error("a loader thread has ended: no further batches; look for its error before this one")]
    Ended,
}

/// Makes batches in the background.
pub struct BatchLoader {
    channels: Vec<Receiver<Result<Batch, BatchError>>>,
    threads: Vec<JoinHandle<()>>,
    /// Raised to stop the threads between two samples.
    stop: Cancel,
    next: usize,
}

impl BatchLoader {
    /// Starts threads that draw batches from `composer` without end. A raised `cancel` ends them with
    /// [`BatchError::Interrupted`].
    pub fn start(
        composer: Arc<BatchComposer>,
        settings: &LoaderSettings,
        cancel: &Cancel,
    ) -> Result<Self, LoaderError> {
        let threads = settings.threads.get();
        let mut loader = Self {
            channels: Vec::with_capacity(threads),
            threads: Vec::with_capacity(threads),
            stop: Cancel::new(),
            next: 0,
        };
        for thread in 0..threads {
            let (sender, receiver) = bounded(settings.ahead.get());
            let worker = Worker {
                composer: Arc::clone(&composer),
                iterations_per_epoch: settings.iterations_per_epoch.max(1),
                first: settings
                    .first_epoch
                    .saturating_mul(settings.iterations_per_epoch.max(1))
                    .saturating_add(settings.first_iteration),
                cancel: cancel.clone(),
                stop: loader.stop.clone(),
            };
            let handle = std::thread::Builder::new()
                .name(format!("loader {thread}"))
                .spawn(move || worker.run(thread, threads, &sender))
                .map_err(LoaderError::Thread)?;
            loader.channels.push(receiver);
            loader.threads.push(handle);
        }
        Ok(loader)
    }

    /// The next batch in order; waits until it is made.
    pub fn next_batch(&mut self) -> Result<Batch, LoaderError> {
        let channel = self.next % self.channels.len().max(1);
        let received = self.channels.get(channel).and_then(|channel| channel.recv().ok());
        self.next += 1;
        Ok(received.ok_or(LoaderError::Ended)??)
    }
}

impl Drop for BatchLoader {
    fn drop(&mut self) {
        self.stop.cancel();
        // Threads that wait for room in their channel learn that nobody listens.
        self.channels.clear();
        for thread in self.threads.drain(..) {
            // A panic was already reported by the thread itself; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

struct Worker {
    composer: Arc<BatchComposer>,
    iterations_per_epoch: u64,
    /// Number of the first batch, over all epochs.
    first: u64,
    cancel: Cancel,
    stop: Cancel,
}

impl Worker {
    fn run(&self, first: usize, step: usize, batches: &Sender<Result<Batch, BatchError>>) {
        let mut scratch = Scratch::default();
        let stop = || self.stop.is_cancelled() || self.cancel.is_cancelled();
        for index in (self.first + first as u64..).step_by(step) {
            let epoch = index / self.iterations_per_epoch;
            let iteration = index % self.iterations_per_epoch;
            let batch = self.composer.compose(epoch, iteration, &mut scratch, stop);
            let last = batch.is_err();
            if batches.send(batch).is_err() || last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Preparation;
    use super::super::case_source::CaseSource;
    use super::super::case_source::tests::MemoryCase;
    use super::super::sampling::LastOfBatch;
    use super::*;
    use nnunet_augment::{AugmentationPolicy, ConfigurationFacts};
    use nnunet_graph::loss::Target;

    fn policy() -> AugmentationPolicy {
        let facts = ConfigurationFacts {
            patch_size: vec![4, 6, 5],
            deep_supervision_scales: Some(vec![vec![1.0; 3], vec![0.5; 3]]),
            ..Default::default()
        };
        AugmentationPolicy::default_for(&facts).unwrap()
    }

    fn last() -> Arc<LastOfBatch> {
        Arc::new(LastOfBatch { foreground: 0.33 })
    }

    fn training() -> Preparation {
        Preparation::Training(Box::new(policy()))
    }

    fn cases(broken: Option<usize>) -> Vec<Arc<dyn CaseSource>> {
        (0..5)
            .map(|i| {
                let mut case = MemoryCase::new(i, [6 + i, 7, 8]);
                case.broken = broken == Some(i);
                Arc::new(case) as Arc<dyn CaseSource>
            })
            .collect()
    }

    fn composer(preparation: Preparation, broken: Option<usize>, seed: u64) -> Arc<BatchComposer> {
        Arc::new(BatchComposer::new(cases(broken), preparation, 3, last(), false, seed).unwrap())
    }

    fn loader(
        composer: Arc<BatchComposer>,
        threads: usize,
        first_epoch: u64,
        cancel: &Cancel,
    ) -> BatchLoader {
        let settings = LoaderSettings {
            iterations_per_epoch: 4,
            first_epoch,
            first_iteration: 0,
            threads: NonZeroUsize::new(threads).unwrap(),
            ahead: NonZeroUsize::new(2).unwrap(),
        };
        BatchLoader::start(composer, &settings, cancel).unwrap()
    }

    fn take(loader: &mut BatchLoader, count: usize) -> Vec<Batch> {
        (0..count).map(|_| loader.next_batch().unwrap()).collect()
    }

    #[test]
    fn batches_do_not_depend_on_threads_or_resumption() {
        let run = |threads, epoch, count| {
            take(&mut loader(composer(training(), None, 7), threads, epoch, &Cancel::new()), count)
        };
        let alone = run(1, 0, 12);
        assert_eq!(alone, run(3, 0, 12));
        assert_eq!(alone[8..], run(2, 2, 4), "a resumed run sees what it would have seen");
        assert_ne!(alone[0], alone[1]);
        let other = take(&mut loader(composer(training(), None, 8), 1, 0, &Cancel::new()), 1);
        assert_ne!(alone[0], other[0]);
    }

    #[test]
    fn shapes_and_cases() {
        let batch = loader(composer(training(), None, 1), 1, 0, &Cancel::new()).next_batch().unwrap();
        assert_eq!(batch.image.shape, [3, 1, 4, 6, 5]);
        assert_eq!(batch.image.data.len(), 3 * 120);
        assert!(batch.cases.len() == 3 && batch.cases.iter().all(|c| c.starts_with("case_00")));
        let shapes = batch.targets.scales.iter().map(|target| match target {
            Target::Labels(labels) => (labels.shape, labels.data.len()),
            other => panic!("{other:?}"),
        });
        assert_eq!(shapes.collect::<Vec<_>>(), [([3, 4, 6, 5], 360), ([3, 2, 3, 2], 36)]);
    }

    #[test]
    fn the_last_sample_shows_foreground() {
        let finish = policy().finish;
        let validation = Preparation::Validation { finish, patch: [4, 6, 5] };
        let mut loader = loader(composer(validation, None, 3), 2, 0, &Cancel::new());
        for batch in take(&mut loader, 30) {
            let Target::Labels(labels) = &batch.targets.scales[0] else { panic!() };
            assert!(labels.sample(2).contains(&1), "the third of three samples is forced");
        }
    }

    #[test]
    fn a_broken_case_is_named_and_ends_the_loader() {
        let mut loader = loader(composer(training(), Some(2), 1), 2, 0, &Cancel::new());
        let error = (0..100).find_map(|_| loader.next_batch().err()).unwrap();
        assert_eq!(error.to_string(), "case case_002: case_002.b2nd: truncated");
        let ended = (0..100).find_map(|_| match loader.next_batch() {
            Err(LoaderError::Ended) => Some(()),
            _ => None,
        });
        assert!(ended.is_some());
    }

    #[test]
    fn cancelling_interrupts_and_dropping_joins() {
        let cancel = Cancel::new();
        let mut loader = loader(composer(training(), None, 1), 2, 0, &cancel);
        take(&mut loader, 1);
        cancel.cancel();
        let error = (0..100).find_map(|_| loader.next_batch().err()).unwrap();
        assert!(matches!(error, LoaderError::Batch(BatchError::Interrupted(_))), "{error}");
        drop(loader);
        let waiting = super::tests::loader(composer(training(), None, 1), 2, 0, &Cancel::new());
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(waiting);
    }

    #[test]
    fn nothing_to_draw_from_is_an_error() {
        let none = BatchComposer::new(Vec::new(), training(), 2, last(), false, 1).err().unwrap();
        assert!(none.to_string().contains("no cases to draw training patches from"), "{none}");
        let empty = BatchComposer::new(cases(None), training(), 0, last(), false, 1).err().unwrap();
        assert!(matches!(empty, BatchError::EmptyBatch));
    }
}

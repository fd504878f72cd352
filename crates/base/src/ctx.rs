//! What a long job is given by whoever runs it.

use std::num::NonZeroUsize;

use crate::memory::MemoryLimit;
use crate::progress::{Cancel, Event, Progress};

/// What a long job is given by whoever runs it: where its events go, whether it should stop, and what it may take of the machine.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// Receives the job's events.
    pub progress: &'a dyn Progress,
    /// Raised when the job should stop at its next safe point.
    pub cancel: &'a Cancel,
    /// Bytes of main memory that the job may take; see [`memory_limit`](Self::memory_limit) for what holds if absent.
    pub max_memory: Option<u64>,
    /// Cases worked on at once, unless a job says otherwise; the number of threads of the rayon pool if absent. Threads of the
    /// network are an option of its backend.
    pub threads: Option<NonZeroUsize>,
}

impl<'a> Ctx<'a> {
    /// A job that reports to `progress` and stops when `cancel` is raised, within the memory and the cores of the machine.
    pub fn new(progress: &'a dyn Progress, cancel: &'a Cancel) -> Self {
        Self { progress, cancel, max_memory: None, threads: None }
    }

    /// The same job within `bytes` of main memory, or within the machine's if absent.
    #[must_use]
    pub fn within(self, bytes: Option<u64>) -> Self {
        Self { max_memory: bytes, ..self }
    }

    /// The same job with at most `threads` cases at once.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// What needs of memory are held against: the bytes that were given, else what the system says now.
    pub fn memory_limit(self) -> MemoryLimit {
        MemoryLimit::new(self.max_memory)
    }

    /// Cases worked on at once, unless a job says otherwise.
    pub fn threads(self) -> usize {
        self.threads.map_or_else(rayon::current_num_threads, NonZeroUsize::get)
    }

    /// Reports one event.
    pub fn event(self, event: Event<'_>) {
        self.progress.event(event);
    }

    /// Reports something worth a line in the log.
    pub fn message(self, text: &str) {
        self.event(Event::Message(text));
    }

    /// Reports something that the user should look at, though the job goes on.
    pub fn warning(self, text: &str) {
        self.event(Event::Warning(text));
    }

    /// Whether somebody asked the job to stop.
    pub fn is_cancelled(self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl std::fmt::Debug for Ctx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("cancel", self.cancel)
            .field("max_memory", &self.max_memory)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

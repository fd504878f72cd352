//! What a long job is given by whoever runs it.

use crate::progress::{Cancel, Event, Progress};

/// What a long job is given by whoever runs it: where its events go, and whether it should stop.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    /// Receives the job's events.
    pub progress: &'a dyn Progress,
    /// Raised when the job should stop at its next safe point.
    pub cancel: &'a Cancel,
}

impl<'a> Ctx<'a> {
    /// A job that reports to `progress` and stops when `cancel` is raised.
    pub fn new(progress: &'a dyn Progress, cancel: &'a Cancel) -> Self {
        Self { progress, cancel }
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
        f.debug_struct("Ctx").field("cancel", self.cancel).finish_non_exhaustive()
    }
}

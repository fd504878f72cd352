//! The only place that writes to stdout and stderr, from a thread of its own.
//!
//! Whoever reads them may be slow, stop reading or go away: `| less`, a stopped terminal, `| head`, a lost connection. None of it
//! holds up the work. What is to be written waits in a queue, in order; steps of progress are left out while it is long, everything
//! else is kept, since its amount is that of the work. The program ends when all is written, but after an interruption it does
//! not wait long.
//!
//! Remarks on stderr whose reader has left are dropped. Results on stdout are dropped, too, if their reader has left, as other
//! tools do; any other failure to write them, as on a full disk, makes the program fail in the end.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;

/// So many pieces of output may wait before steps of progress are left out.
const LONG: usize = 1000;
/// How long the last words after an interruption may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a wait for the reader looks for an interruption.
const GLANCE: Duration = Duration::from_millis(50);

/// What the thread of the output does, in order.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Whether output may be left out where its reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It says how far the work is, which the next one says too.
    Step,
    /// It is to be read.
    Kept,
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Whether the thread is at one that it has taken from there.
    busy: bool,
    /// Whether there is a thread.
    started: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && !self.busy
    }
}

fn queue() -> &'static Queue {
    static QUEUE: OnceLock<Queue> = OnceLock::new();
    QUEUE.get_or_init(Queue::default)
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&'static self, weight: Weight, job: Job) {
        let mut waiting = self.lock();
        if weight == Weight::Step && waiting.jobs.len() >= LONG {
            return;
        }
        waiting.jobs.push_back(job);
        if !waiting.started {
            let thread = std::thread::Builder::new().name("output".to_owned()).spawn(|| self.write_all());
            waiting.started = thread.is_ok();
            if !waiting.started {
                // Without a thread it is written here and now.
                let jobs = std::mem::take(&mut waiting.jobs);
                drop(waiting);
                jobs.into_iter().for_each(|job| job());
                return;
            }
        }
        self.changed.notify_all();
    }

    fn write_all(&self) {
        loop {
            let mut waiting = self.lock();
            let job = loop {
                match waiting.jobs.pop_front() {
                    Some(job) => break job,
                    None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            waiting.busy = true;
            drop(waiting);
            // A panic has said so itself; what comes after it is to be written all the same.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            self.lock().busy = false;
            self.changed.notify_all();
        }
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until all is written, or until `gives_up`.
    fn wait(&self, gives_up: impl Fn() -> bool) {
        let mut waiting = self.lock();
        while !waiting.is_empty() && !gives_up() {
            waiting = self.changed.wait_timeout(waiting, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Adds output to what waits; `job` is run by the thread of the output and writes it with [`write_remark`] or
/// [`Results::write`].
pub(crate) fn add(weight: Weight, job: impl FnOnce() + Send + 'static) {
    queue().add(weight, Box::new(job));
}

/// A line on stderr, if anybody reads it.
pub(crate) fn remark(text: &str) {
    let text = text.to_owned();
    add(Weight::Kept, move || write_remark(&text));
}

/// Writes a line to stderr at once; for jobs of [`add`].
pub(crate) fn write_remark(text: &str) {
    // One call, so that lines of several processes do not mix.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Waits until everything is written, or for `limit` at most.
pub(crate) fn flush(limit: Duration) {
    let begun = Instant::now();
    queue().wait(|| begun.elapsed() >= limit);
}

/// Waits until everything is written; once the run `is_interrupted`, only for a moment more. Whether all is written.
pub(crate) fn finish(is_interrupted: impl Fn() -> bool) -> bool {
    queue().wait(&is_interrupted);
    if is_interrupted() {
        flush(LAST_WORDS);
    }
    queue().is_empty()
}

/// Whether somebody looks at stderr.
pub(crate) fn remarks_on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Characters in a line of the terminal that shows the results; `None` where they go elsewhere.
#[cfg(unix)]
pub(crate) fn columns() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Not known here.
#[cfg(not(unix))]
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Results on stdout; clones share what became of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Results {
    /// A line, unless writing failed before.
    pub(crate) fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Text as it is, unless writing failed before.
    pub(crate) fn text(&self, text: &str) {
        let (results, text) = (self.clone(), text.to_owned());
        add(Weight::Kept, move || results.write(&text));
    }

    /// Writes text at once; for jobs of [`add`].
    pub(crate) fn write(&self, text: &str) {
        let mut failure = self.failure();
        if failure.is_none() {
            let mut out = io::stdout().lock();
            *failure = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
        }
    }

    /// Whether those results could be written that were, see [`finish`]. That the reader has left is no failure.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        // The thread may be held up within a write that nobody waits for.
        let Ok(failure) = self.failure.try_lock() else { return Ok(()) };
        match &*failure {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(anyhow!("the results could not be written to stdout: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_misses_steps_only() {
        let queue: &'static Queue = Box::leak(Box::default());
        let (go_on, stopped) = channel::<()>();
        queue.add(Weight::Kept, Box::new(move || stopped.recv().unwrap()));
        let written = Arc::new(Mutex::new((0, Vec::new())));
        for number in 0..3 * LONG {
            let (one, other) = (Arc::clone(&written), Arc::clone(&written));
            queue.add(Weight::Step, Box::new(move || one.lock().unwrap().0 += 1));
            queue.add(Weight::Kept, Box::new(move || other.lock().unwrap().1.push(number)));
        }
        let asked = AtomicUsize::new(0);
        queue.wait(|| asked.fetch_add(1, Ordering::Relaxed) > 2);
        assert_eq!(*written.lock().unwrap(), (0, Vec::new()), "the wait was given up");

        go_on.send(()).unwrap();
        queue.wait(|| false);
        let (steps, kept) = &*written.lock().unwrap();
        assert_eq!(*kept, (0..3 * LONG).collect::<Vec<_>>(), "all of them, in order");
        assert!((1..=LONG).contains(steps), "{steps}");
    }

    #[test]
    fn a_panic_within_a_job_does_not_end_the_output() {
        let queue: &'static Queue = Box::leak(Box::default());
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        queue.add(Weight::Kept, Box::new(|| std::panic::resume_unwind(Box::new("a panic"))));
        queue.add(Weight::Kept, Box::new(move || count.store(1, Ordering::Relaxed)));
        queue.wait(|| false);
        assert_eq!(written.load(Ordering::Relaxed), 1);
    }
}

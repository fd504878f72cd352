//! What every kernel is handed: the instruction set level, the threads, and scratch memory for each thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::memory::AlignedBuffer;
use crate::shelf::{Kept, Shelf};
use crate::{CpuLevel, Pool};

/// Level, thread pool and scratch memory. One per network or program; kernels take it by shared reference.
#[derive(Debug)]
pub struct Context {
    level: CpuLevel,
    pool: Pool,
    /// One buffer per thread; a task locks the one of its thread, so there is never contention.
    scratch: Vec<Mutex<AlignedBuffer>>,
    /// Partial sums of one job, written by its tasks and merged in a fixed order afterwards.
    partial: Mutex<AlignedBuffer>,
    /// A tensor that one kernel call prepares for another.
    staging: Mutex<AlignedBuffer>,
    /// What kernels keep from call to call.
    shelf: Shelf,
}

impl Context {
    /// A context for `level`, lowered to what the machine has, with `threads` threads.
    pub fn new(level: CpuLevel, threads: usize) -> Self {
        let pool = Pool::new(threads);
        let scratch = (0..pool.threads()).map(|_| Mutex::new(AlignedBuffer::default())).collect();
        Self {
            level: level.min(CpuLevel::detect()),
            pool,
            scratch,
            partial: Mutex::default(),
            staging: Mutex::default(),
            shelf: Shelf::default(),
        }
    }

    /// The level in use, never above what the machine has.
    pub fn level(&self) -> CpuLevel {
        self.level
    }

    /// The thread pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Scratch memory of a thread. Its content is undefined; call [`AlignedBuffer::at_least`] for the length needed. It is
    /// kept between calls, so nothing is allocated in the steady state.
    pub(crate) fn scratch(&self, thread: usize) -> MutexGuard<'_, AlignedBuffer> {
        self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer for partial sums of one kernel call, taken by the caller of the job.
    pub(crate) fn partial(&self) -> MutexGuard<'_, AlignedBuffer> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer for a tensor in another layout or activated, taken by a kernel call that runs others.
    pub(crate) fn staging(&self) -> MutexGuard<'_, AlignedBuffer> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a kernel keeps from call to call as `T`, a type of its own: made with the first call, so that later ones allocate
    /// nothing. Taken by the caller of the job.
    pub(crate) fn kept<T: Default + Send + 'static>(&self) -> Kept<'_, T> {
        self.shelf.take()
    }
}

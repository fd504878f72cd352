//! What every kernel is handed: the instruction set level, the threads, and scratch memory for each thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::conv::direct::micro::Tap;
use crate::conv::direct::rows::LaneStatistics;
use crate::layout::{AlignedBuffer, LANES};
use crate::norm::rows::NormSums;
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
    /// Statistics of the tiles of one job.
    statistics: Mutex<Vec<LaneStatistics>>,
    /// Sums per lane of the tasks of one job.
    sums: Mutex<Vec<[f64; LANES]>>,
    /// The same for the gradient of a norm.
    norm_sums: Mutex<Vec<NormSums>>,
    /// Means of them over the values that share statistics.
    norm_means: Mutex<Vec<NormSums>>,
    /// What a first layer reads for each of its weights, for one block of output channels at a time and for two.
    taps: Mutex<[Vec<Tap>; 2]>,
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
            statistics: Mutex::default(),
            sums: Mutex::default(),
            norm_sums: Mutex::default(),
            norm_means: Mutex::default(),
            taps: Mutex::default(),
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

    /// The buffer for statistics of tiles, taken by the caller of the job.
    pub(crate) fn statistics(&self) -> MutexGuard<'_, Vec<LaneStatistics>> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer for sums per lane, taken by the caller of the job.
    pub(crate) fn sums(&self) -> MutexGuard<'_, Vec<[f64; LANES]>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer for the sums of a norm's gradient, taken by the caller of the job.
    pub(crate) fn norm_sums(&self) -> MutexGuard<'_, Vec<NormSums>> {
        self.norm_sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer for the means of a norm's gradient, taken by the caller of the job.
    pub(crate) fn norm_means(&self) -> MutexGuard<'_, Vec<NormSums>> {
        self.norm_means.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lists of taps of a first layer, taken by the caller of the job.
    pub(crate) fn taps(&self) -> MutexGuard<'_, [Vec<Tap>; 2]> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What every kernel is handed: the instruction set level and the threads.

use crate::{CpuLevel, Pool};

/// Level and thread pool. One per network or program; kernels take it by shared reference.
#[derive(Debug)]
pub struct Context {
    level: CpuLevel,
    pool: Pool,
}

impl Context {
    /// A context for `level`, lowered to what the machine has, with `threads` threads.
    pub fn new(level: CpuLevel, threads: usize) -> Self {
        let pool = Pool::new(threads);
        Self { level: level.min(CpuLevel::detect()), pool }
    }

    /// The level in use, never above what the machine has.
    pub fn level(&self) -> CpuLevel {
        self.level
    }

    /// The thread pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

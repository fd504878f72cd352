//! Working on several cases at once within a limit of memory.
//!
//! Workers are plain threads, one case each, that share the rayon pool for the work within a case: a worker that
//! waits for memory must not hold up the pool, as one of its own threads would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::Ctx;
use crate::hint::MemoryWork;
use crate::memory::{MemoryLimit, MemoryLimitError, gigabytes};
use crate::progress::{Cancel, Event, Progress};

/// Workers on cases, and the memory they share.
#[derive(Debug)]
pub struct Workers {
    count: usize,
    budget: MemoryBudget,
    /// Bytes that each case needs.
    needs: Vec<u64>,
}

impl Workers {
    /// Plans the work on cases of the given names and needs (bytes at most): `count` at once ([`Ctx::threads`] if absent), or
    /// fewer, to stay within the memory that `ctx` allows (half of what is available if it sets no limit). What will be used
    /// at most is reported.
    ///
    /// # Errors
    /// A case does not fit into a limit that was given, or else into all the memory that this process may use.
    pub fn plan(cases: &[(&str, u64)], count: Option<usize>, ctx: Ctx<'_>) -> Result<Self, MemoryLimitError> {
        Self::plan_within(cases, count.unwrap_or_else(|| ctx.threads()), ctx.memory_limit(), ctx.progress)
    }

    /// Plans the work on cases of which each is small beside what was done with it before: [`Ctx::threads`] at once, or fewer, to
    /// stay within half of the memory that is available; one that needs more is worked on alone.
    pub fn within_available(cases: &[(&str, u64)], ctx: Ctx<'_>) -> Self {
        Self {
            count: ctx.threads().clamp(1, cases.len().max(1)),
            budget: MemoryBudget::new(MemoryLimit::new(None).budget()),
            needs: cases.iter().map(|(_, need)| *need).collect(),
        }
    }

    /// [`plan`](Self::plan) for what is given or what the system says.
    fn plan_within(
        cases: &[(&str, u64)],
        count: usize,
        limit: MemoryLimit,
        progress: &dyn Progress,
    ) -> Result<Self, MemoryLimitError> {
        let large: Vec<String> = cases
            .iter()
            .filter(|(_, need)| limit.excludes(*need))
            .map(|(name, need)| format!("{name} needs {}", gigabytes(*need)))
            .collect();
        if !large.is_empty() {
            return Err(limit.error(large.join(", "), MemoryWork::Case));
        }
        let count = count.clamp(1, cases.len().max(1));
        let budget = MemoryBudget::new(limit.budget());
        if let Some((name, largest)) = cases.iter().max_by_key(|(_, need)| *need) {
            let mut needs: Vec<u64> = cases.iter().map(|(_, need)| *need).collect();
            needs.sort_unstable_by(|a, b| b.cmp(a));
            let together = needs[..count].iter().fold(0u64, |all, need| all.saturating_add(*need));
            let fewer = if together > budget.limit { ", fewer at once where they are large" } else { "" };
            progress.event(Event::Message(&format!(
                "memory: at most about {} for {count} cases at once{fewer} (largest case {name}: {})",
                gigabytes(together.min(budget.limit.max(*largest))),
                gigabytes(*largest)
            )));
            if let Some(warning) = limit.warning(&format!("case {name}"), *largest) {
                progress.event(Event::Warning(&warning));
            }
        }
        Ok(Self { count, budget, needs: cases.iter().map(|(_, need)| *need).collect() })
    }

    /// Calls `work` with the number of every case, in order, until all are done or `cancel` is raised.
    pub fn run(&self, work: impl Fn(usize) + Sync, cancel: &Cancel) {
        let next = AtomicUsize::new(0);
        let worker = || {
            while !cancel.is_cancelled() {
                let case = next.fetch_add(1, Ordering::Relaxed);
                let Some(&need) = self.needs.get(case) else { break };
                let _share = self.budget.take(need);
                if !cancel.is_cancelled() {
                    work(case);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.count {
                scope.spawn(worker);
            }
            worker();
        });
    }
}

/// Bytes that may be in use; workers wait for their share.
#[derive(Debug)]
struct MemoryBudget {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
struct Share<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    fn new(limit: u64) -> Self {
        Self { limit, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` are free. A share larger than the whole budget is given when nothing else
    /// is in use: a case that large is worked on alone.
    fn take(&self, bytes: u64) -> Share<'_> {
        // The count is consistent whatever a panicking holder did: shares are given back on unwinding.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && used.saturating_add(bytes) > self.limit {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used = used.saturating_add(bytes);
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.bytes);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{LimitedBy, Memory};
    use crate::progress::Silent;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn shares_stay_within_the_limit() {
        let budget = MemoryBudget::new(10);
        let (used, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [3, 4, 5, 6, 7, 2, 1, 9] {
                let (budget, used, peak) = (&budget, &used, &peak);
                scope.spawn(move || {
                    let _share = budget.take(bytes);
                    let now = used.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    peak.fetch_max(now, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    used.fetch_sub(bytes, Ordering::SeqCst);
                });
            }
        });
        assert!(peak.load(Ordering::SeqCst) <= 10);
        // More than the limit is given to a case that is alone.
        drop(budget.take(100));
        drop(budget.take(10));
    }

    #[test]
    fn cases_that_cannot_fit_are_refused_and_all_others_are_worked_on_once() {
        let cases = [("a", 30_000_000), ("b", 70_000_000), ("c", 80_000_000)];
        let cancel = Cancel::new();
        let ctx = Ctx::new(&Silent, &cancel);
        let error = Workers::plan(&cases, None, ctx.within(Some(60_000_000))).unwrap_err().to_string();
        assert!(error.contains("limit of 60 MB: b needs 70 MB, c needs 80 MB"), "{error}");
        for limit in [Some(80_000_000), None] {
            let workers = Workers::plan(&cases, Some(5), ctx.within(limit)).unwrap();
            let seen = Mutex::new(Vec::new());
            workers.run(|case| seen.lock().unwrap().push(case), &Cancel::new());
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2]);
        }
    }

    #[test]
    fn without_a_limit_cases_are_held_against_the_memory_of_the_process() {
        struct Warnings(Mutex<Vec<String>>);
        impl Progress for Warnings {
            fn event(&self, event: Event<'_>) {
                if let Event::Warning(text) = event {
                    self.0.lock().unwrap().push(text.to_owned());
                }
            }
        }
        let cases = [("small", 1_000_000), ("typo", 1_511_900_000_000)];
        let warnings = Warnings(Mutex::default());
        let plan = |total, available| {
            let memory =
                Memory { total: Some(total), available: Some(available), limited_by: LimitedBy::Machine };
            Workers::plan_within(&cases, 2, MemoryLimit::Machine(memory), &warnings)
        };
        let error = crate::hint::explain(&plan(16_000_000_000, 8_000_000_000).unwrap_err());
        let expected =
            "more memory than the 16.0 GB of this machine: typo needs 1511.9 GB. Check size and spacing";
        assert!(error.starts_with(expected) && !error.contains("small"), "{error}");
        plan(2_000_000_000_000, 8_000_000_000).unwrap();
        plan(2_000_000_000_000, 1_900_000_000_000).unwrap();
        let warnings = warnings.0.into_inner().unwrap();
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("case typo may need 1511.9 GB"),
            "{warnings:?}"
        );
    }
}

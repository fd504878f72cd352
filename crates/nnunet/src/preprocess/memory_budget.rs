//! A limit on the memory of the cases that are worked on at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that may be in use; workers wait for their share.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` are free. A share larger than the whole budget is given when nothing else
    /// is in use: a case that large is worked on alone.
    pub(super) fn take(&self, bytes: u64) -> Share<'_> {
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

/// Bytes that preprocessing of a case of `channels` channels needs at most: images and segmentation of
/// `before` voxels before and `after` behind resampling, one channel in between, masks, and the file while
/// it is decompressed.
pub fn memory_of_case(channels: u64, before: u64, after: u64) -> u64 {
    // 4 bytes per voxel and channel, 2 + 1 for labels and mask; files are at most 8 bytes per voxel.
    (before.saturating_add(after))
        .saturating_mul(4 * channels + 3)
        .saturating_add(before.max(after).saturating_mul(12))
}

/// Half of the memory that the system says is available; 4 GiB where it does not say.
pub(super) fn default_limit() -> u64 {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    available.map_or(4 << 30, |kilobytes| kilobytes.saturating_mul(1024) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

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
}

//! Limits of memory that the needs of work are compared with before it begins.

use super::{LimitedBy, Memory};
use crate::hint::{Hint, MemoryWork};

/// What cases worked on at once may take where the system does not say what is available.
const DEFAULT_BUDGET: u64 = 4 << 30;

/// What needs of memory are held against before work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Bytes that the user gave.
    Given(u64),
    /// The memory of this process.
    Machine(Memory),
}

impl MemoryLimit {
    /// The limit that the user gave, else what the system says now.
    pub fn new(given: Option<u64>) -> Self {
        given.map_or_else(|| Self::Machine(Memory::of_this_process()), Self::Given)
    }

    /// Whether there is no way to have `bytes`.
    pub fn excludes(&self, bytes: u64) -> bool {
        self.most().is_some_and(|most| bytes > most)
    }

    /// Bytes that can be had at most.
    fn most(&self) -> Option<u64> {
        match self {
            Self::Given(limit) => Some(*limit),
            Self::Machine(memory) => memory.total,
        }
    }

    /// Bytes to stay within where that is a matter of choice.
    pub fn comfortable(&self) -> Option<u64> {
        match self {
            Self::Given(limit) => Some(*limit),
            Self::Machine(memory) => memory.available,
        }
    }

    /// Bytes that cases worked on at once may take together.
    pub(crate) fn budget(&self) -> u64 {
        match self {
            Self::Given(bytes) => *bytes,
            Self::Machine(memory) => memory.available.map_or(DEFAULT_BUDGET, |bytes| bytes / 2),
        }
    }

    /// A warning if `bytes`, which `what` needs, are there, but not free now.
    pub fn warning(&self, what: &str, bytes: u64) -> Option<String> {
        let Self::Machine(memory) = self else { return None };
        let available = memory.available.filter(|available| bytes > *available)?;
        Some(format!(
            "{what} may need {}, of which {} are free now: end other programs, or the system may end this one",
            gigabytes(bytes),
            gigabytes(available)
        ))
    }

    /// The error for `needs`, in words, that cannot be met; they are those of `work`.
    pub fn error(&self, needs: String, work: MemoryWork) -> MemoryLimitError {
        let most = gigabytes(self.most().unwrap_or(u64::MAX));
        let limited_by = match self {
            Self::Given(_) => None,
            Self::Machine(memory) => Some(memory.limited_by),
        };
        let limit = match limited_by {
            None => format!("the limit of {most}"),
            Some(LimitedBy::Machine) => format!("the {most} of this machine"),
            Some(LimitedBy::Group) => format!(
                "the {most} that this process may use (limit of its control group: batch job or container)"
            ),
            Some(LimitedBy::AddressSpace) => {
                format!("the {most} that the limit of the address space leaves (ulimit -v)")
            }
            Some(LimitedBy::Data) => format!("the {most} that the limit of the data size leaves (ulimit -d)"),
        };
        MemoryLimitError { limit, needs, hint: Hint::Memory { work, limited_by } }
    }
}

/// Work that does not fit into the memory that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more memory than {limit}: {needs}")]
pub struct MemoryLimitError {
    /// The limit.
    limit: String,
    /// What needs how much.
    needs: String,
    /// What to do.
    #[source]
    hint: Hint,
}

/// Bytes for messages.
pub fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn in_bytes(total: u64, available: u64, limited_by: LimitedBy) -> Memory {
        Memory { total: Some(total), available: Some(available), limited_by }
    }

    #[test]
    fn limits_exclude_warn_and_say_what_to_do() {
        let machine = MemoryLimit::Machine(in_bytes(16 * GIB, 8 * GIB, LimitedBy::Machine));
        assert!(machine.excludes(17 * GIB) && !machine.excludes(16 * GIB));
        assert_eq!(machine.warning("a", 8 * GIB), None);
        let warning = machine.warning("case a", 9 * GIB).unwrap();
        assert!(warning.starts_with("case a may need 9.7 GB, of which 8.6 GB are free now"), "{warning}");
        let error = machine.error("a needs 18.3 GB".to_owned(), MemoryWork::Training);
        let expected = "more memory than the 17.2 GB of this machine: a needs 18.3 GB";
        assert_eq!(error.to_string(), expected);
        let hint = Hint::Memory { work: MemoryWork::Training, limited_by: Some(LimitedBy::Machine) };
        assert_eq!(Hint::of(&error), Some(&hint));
        let text = crate::hint::explain(&error);
        assert!(text.contains("smaller batches") && text.ends_with("set a limit to try anyway"), "{text}");
        let group = MemoryLimit::Machine(in_bytes(2 * GIB, GIB, LimitedBy::Group))
            .error(String::new(), MemoryWork::Case)
            .to_string();
        assert!(group.contains("the 2.1 GB that this process may use"), "{group}");

        let given = MemoryLimit::new(Some(GIB));
        assert!(given.excludes(GIB + 1) && given.warning("a", 5 * GIB).is_none());
        assert!(given.error(String::new(), MemoryWork::Case).to_string().contains("limit of 1.1 GB"));
        assert!(
            !MemoryLimit::Machine(Memory::default()).excludes(u64::MAX),
            "nothing is known, nothing refused"
        );
    }
}

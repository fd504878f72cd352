//! The main memory that this process may use, and what work is held against.
//!
//! What the machine has (`/proc/meminfo`), what the control groups allow (version 2: `memory.max`, version 1:
//! `memory.limit_in_bytes`, each along the whole path of the process's group), and what the resource limits of the process leave
//! (`ulimit -v` and `ulimit -d`, in `/proc/self/limits`); the smallest counts. Batch systems and containers set such limits, and
//! end whoever exceeds them. Where none of it can be read, as on systems other than Linux, nothing is known.

mod limit;

use std::fmt;
use std::path::Path;

pub use self::limit::{MemoryLimit, MemoryLimitError, gigabytes};

/// Bytes that the page cache of a group may give back count as available.
const FILE_CACHE: [&str; 2] = ["inactive_file", "active_file"];

/// Memory of this process in bytes, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All that it may ever have: the machine's memory, or the limit of its control group.
    pub total: Option<u64>,
    /// What it can take now, without anybody else giving back any.
    pub available: Option<u64>,
    /// What sets the total.
    pub limited_by: LimitedBy,
}

/// What sets the memory that a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitedBy {
    /// There is no more in the machine.
    #[default]
    Machine,
    /// A control group of a batch job or a container.
    Group,
    /// The limit of the process's address space, less what is mapped already.
    AddressSpace,
    /// The limit of the process's data, less what it has already.
    Data,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "the machine's",
            Self::Group => "limit of the control group: batch job or container",
            Self::AddressSpace => "limit of the address space, ulimit -v",
            Self::Data => "limit of the data size, ulimit -d",
        })
    }
}

/// What this process takes of the main memory, in bytes; only Linux says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryInUse {
    /// Now.
    pub now: Option<u64>,
    /// At most so far.
    pub peak: Option<u64>,
}

impl MemoryInUse {
    /// What the system says now.
    pub fn of_this_process() -> Self {
        Self::from_status(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// The same from the text of `/proc/self/status`.
    fn from_status(status: &str) -> Self {
        Self { now: kilobytes(status, "VmRSS:"), peak: kilobytes(status, "VmHWM:") }
    }
}

/// Limits of the process: the line in `/proc/self/limits`, and the line in `/proc/self/status` that says how much of it is in use.
const RESOURCES: [(&str, &str, LimitedBy); 2] = [
    ("Max address space", "VmSize:", LimitedBy::AddressSpace),
    ("Max data size", "VmData:", LimitedBy::Data),
];

impl Memory {
    /// What the system says now.
    pub fn of_this_process() -> Self {
        Self::from_files(&|path| std::fs::read_to_string(path).ok())
    }

    /// The same from the texts of the system's files; `read` answers `None` for those that do not exist.
    fn from_files(read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let information = read(Path::new("/proc/meminfo")).unwrap_or_default();
        let mut memory = Self {
            total: kilobytes(&information, "MemTotal:"),
            available: kilobytes(&information, "MemAvailable:"),
            limited_by: LimitedBy::Machine,
        };
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        for line in groups.lines() {
            // HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            if controllers.is_empty() {
                for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
                    memory.restrict_along(mount, path, &GroupFiles::VERSION_2, read);
                }
            } else if controllers.split(',').any(|controller| controller == "memory") {
                memory.restrict_along("/sys/fs/cgroup/memory", path, &GroupFiles::VERSION_1, read);
            }
        }
        let limits = read(Path::new("/proc/self/limits")).unwrap_or_default();
        let status = read(Path::new("/proc/self/status")).unwrap_or_default();
        for (resource, usage, by) in RESOURCES {
            let line = limits.lines().find_map(|line| line.strip_prefix(resource));
            // The soft limit comes first; "unlimited" is no number.
            let limit = line.and_then(|values| values.split_whitespace().next()?.parse::<u64>().ok());
            if let Some(limit) = limit {
                let left = limit.saturating_sub(kilobytes(&status, usage).unwrap_or(0));
                memory.restrict(left, left, by);
            }
        }
        memory
    }

    /// Takes into account that there are `total` bytes at most, and `available` of them now.
    fn restrict(&mut self, total: u64, available: u64, by: LimitedBy) {
        if self.total.is_none_or(|known| total < known) {
            (self.total, self.limited_by) = (Some(total), by);
        }
        self.available = Some(self.available.map_or(available, |known| known.min(available)));
    }

    /// Takes the limits of the group `path` and of all above it into account. Inside of a container the path may be that of the host,
    /// of which only the end of the way up, the container's own group, is there.
    fn restrict_along(
        &mut self,
        mount: &str,
        path: &str,
        files: &GroupFiles,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        let path = Path::new(path.trim_start_matches('/'));
        for group in path.ancestors() {
            let folder = Path::new(mount).join(group);
            let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
            // "max" is no number, and no limit.
            let Some(limit) = number(files.limit) else { continue };
            let statistics = read(&folder.join("memory.stat")).unwrap_or_default();
            let cached = FILE_CACHE.iter().filter_map(|key| {
                let key = format!("{}{key}", files.hierarchical);
                value_of(&statistics, &key)?.parse::<u64>().ok()
            });
            let used = number(files.usage).unwrap_or(0).saturating_sub(cached.sum());
            self.restrict(limit, limit.saturating_sub(used), LimitedBy::Group);
        }
    }
}

/// Names of the files of a version of control groups.
struct GroupFiles {
    limit: &'static str,
    usage: &'static str,
    /// What stands before the keys of `memory.stat` that count the groups below too.
    hierarchical: &'static str,
}

impl GroupFiles {
    const VERSION_1: Self =
        Self { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", hierarchical: "total_" };
    const VERSION_2: Self = Self { limit: "memory.max", usage: "memory.current", hierarchical: "" };
}

/// What stands behind the word `key` at the beginning of a line.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (word, value) = line.split_once(char::is_whitespace)?;
        (word == key).then_some(value.trim())
    })
}

/// Bytes, where the line that begins with the word `key` gives kilobytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value = value_of(text, key)?.strip_suffix("kB")?;
    Some(value.trim().parse::<u64>().ok()?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::MemoryWork;

    const GIB: u64 = 1 << 30;
    const MEMINFO: &str =
        "MemTotal:       16777216 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n";

    fn memory(files: &[(&str, &str)]) -> Memory {
        Memory::from_files(&|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    fn in_bytes(total: u64, available: u64, limited_by: LimitedBy) -> Memory {
        Memory { total: Some(total), available: Some(available), limited_by }
    }

    #[test]
    fn without_groups_it_is_the_machine() {
        assert_eq!(memory(&[("/proc/meminfo", MEMINFO)]), in_bytes(16 * GIB, 8 * GIB, LimitedBy::Machine));
        assert_eq!(memory(&[]), Memory::default());
        assert_eq!(memory(&[("/proc/meminfo", "MemTotal: many kB\nMemAvailable: 1")]), Memory::default());
    }

    #[test]
    fn the_narrowest_group_of_version_2_counts() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/slurm/job_7/step_0\n"),
            ("/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.max", "4294967296\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.current", "3221225472\n"),
            (
                "/sys/fs/cgroup/slurm/job_7/memory.stat",
                "anon 1073741824\nfile 2147483648\ninactive_file 1073741824\nactive_file 536870912\n",
            ),
            ("/sys/fs/cgroup/slurm/memory.max", "34359738368\n"),
            ("/sys/fs/cgroup/slurm/memory.current", "0\n"),
        ];
        // Of the 3 GiB in use 1.5 are cached files.
        assert_eq!(memory(&files), in_bytes(4 * GIB, 4 * GIB - 3 * GIB / 2, LimitedBy::Group));
    }

    #[test]
    fn groups_of_version_1_and_paths_that_only_the_host_has() {
        let unlimited = "9223372036854771712\n";
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/ab\n4:memory,hugetlb:/docker/ab\n0::/docker/ab\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 99999\ntotal_inactive_file 536870912\n"),
        ];
        assert_eq!(memory(&files), in_bytes(2 * GIB, 3 * GIB / 2, LimitedBy::Group));
        let mut files = files;
        files[2].1 = unlimited;
        assert_eq!(memory(&files), in_bytes(16 * GIB, 8 * GIB, LimitedBy::Machine));
    }

    #[test]
    fn a_group_can_leave_less_than_the_machine_has_free_without_a_lower_total() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/unified/memory.max", "34359738368"),
            ("/sys/fs/cgroup/unified/memory.current", "33285996544"),
        ];
        assert_eq!(memory(&files), in_bytes(16 * GIB, GIB, LimitedBy::Machine));
    }

    #[test]
    fn limits_of_the_process_count_less_what_it_has() {
        let limits = |address_space: &str, data: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max data size             {data:<20} unlimited            bytes     \n\
                 Max resident set          1                    1                    bytes     \n\
                 Max address space         {address_space:<20} unlimited            bytes     \n"
            )
        };
        let status = "VmPeak:\t 9999999 kB\nVmSize:\t 1048576 kB\nVmData:\t  524288 kB\n";
        let of = |limits: &str| {
            memory(&[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/limits", limits),
                ("/proc/self/status", status),
            ])
        };
        let four = (4 * GIB).to_string();
        assert_eq!(of(&limits(&four, "unlimited")), in_bytes(3 * GIB, 3 * GIB, LimitedBy::AddressSpace));
        assert_eq!(
            of(&limits("unlimited", &four)),
            in_bytes(7 * GIB / 2, 7 * GIB / 2, LimitedBy::Data),
            "half a gibibyte is in use"
        );
        assert_eq!(of(&limits("1000", "unlimited")), in_bytes(0, 0, LimitedBy::AddressSpace));
        let none = limits("unlimited", "unlimited");
        assert_eq!(of(&none), in_bytes(16 * GIB, 8 * GIB, LimitedBy::Machine));
        let error = |limits: &str| {
            MemoryLimit::Machine(of(limits)).error(String::new(), MemoryWork::Case).to_string()
        };
        let text = error(&limits(&four, "unlimited"));
        assert!(text.contains("3.2 GB that the limit of the address space leaves (ulimit -v)"), "{text}");
        let text = error(&limits("unlimited", &four));
        assert!(text.contains("(ulimit -d)"), "{text}");
    }

    #[test]
    fn the_memory_in_use_and_its_peak_are_read() {
        let status = "VmPeak:\t 9999 kB\nVmHWM:\t 2048 kB\nVmRSS:\t 1024 kB\n";
        let found = MemoryInUse::from_status(status);
        assert_eq!(found, MemoryInUse { now: Some(1 << 20), peak: Some(2 << 20) });
        assert_eq!(MemoryInUse::from_status(""), MemoryInUse::default());
    }

    #[test]
    fn this_machine_says_something_on_linux() {
        let memory = Memory::of_this_process();
        if cfg!(target_os = "linux") {
            assert!(
                memory.total.unwrap() >= memory.available.unwrap() && memory.available.unwrap() > 0,
                "{memory:?}"
            );
        }
    }
}

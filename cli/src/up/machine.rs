//! What the machine has for this process: memory, and files that may be open.
//!
//! Looked at once, at start. Where the system does not say, small but workable numbers are taken.

use std::fs;
use std::io;
use std::net::TcpListener;

use tidegate_kit::limits::CONNECTIONS_MAX;
use tidegate_kit::memory::{MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MIN};
use tidegate_log::limits::OPEN_FILES_MAX;

/// What the process may fill when it is not told: half of what the machine or its control group has,
/// at least 64 MiB and at most 1 GiB, because what is left is the page cache that reads are served
/// from.
pub(crate) fn memory_bytes_max() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    share(machine.as_deref().and_then(total), group.as_deref())
}

fn share(machine: Option<usize>, group: Option<&str>) -> usize {
    let group = group.and_then(|text| text.trim().parse::<usize>().ok());
    let there = match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => MEMORY_BYTES_MIN,
    };
    (there / 2).clamp(MEMORY_BYTES_MIN, MEMORY_BYTES_DEFAULT)
}

fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Lets the process open as many files as its hard limit says: every connection is one, and the usual
/// soft limit of 1,024 is for programs that use `select`. Gives the number when it is known.
#[cfg(unix)]
pub(crate) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> Option<u64> {
    None
}

/// How the files that the process may open are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    /// Segments and their indexes.
    pub(crate) log_max: usize,
    /// Connections.
    pub(crate) connections_max: usize,
}

impl Files {
    /// The log gets what keeps it fast and connections the rest. When more connections are `asked` for, the
    /// log opens its files anew more often, and takes few.
    pub(crate) fn share(open_files: Option<u64>, asked: Option<usize>) -> Self {
        const LOG_MIN: usize = 64;
        let files = open_files.and_then(|files| usize::try_from(files).ok());
        let files = files.unwrap_or(usize::MAX);
        // The journal, the metadata store, the runtime and the like.
        let kept = (files / 8).min(64 + files / 64);
        let log_best = (files / 2).min(OPEN_FILES_MAX);
        let log_least = log_best.min(LOG_MIN);
        let connections_max = match asked {
            Some(asked) => asked.min(files - kept - log_least),
            None => CONNECTIONS_MAX.min(files - kept - log_best),
        };
        Self {
            log_max: log_best.min(files - kept - connections_max),
            connections_max: connections_max.max(1),
        }
    }
}

/// Connections that wait to be accepted: after a restart thousands of sockets come back at once, and
/// the usual 128 would turn most of them away for a second or more. The system has a bound of its own.
#[cfg(unix)]
pub(crate) fn lengthen_queue(listener: &TcpListener) -> io::Result<()> {
    const WAITING_MAX: i32 = 4096;
    Ok(rustix::net::listen(listener, WAITING_MAX)?)
}

#[cfg(not(unix))]
pub(crate) fn lengthen_queue(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;

    #[test]
    fn memory_is_half_of_what_is_there_within_bounds() {
        assert_eq!(share(Some(GIB), Some("max\n")), GIB / 2);
        assert_eq!(share(Some(64 * GIB), None), GIB);
        assert_eq!(share(Some(64 * GIB), Some("536870912\n")), GIB / 4);
        assert_eq!(share(Some(100), None), MEMORY_BYTES_MIN);
        assert_eq!(share(None, None), MEMORY_BYTES_MIN);
    }

    #[test]
    fn files_are_for_the_log_and_for_connections_and_some_are_left() {
        let share = |files, asked| {
            let shared = Files::share(Some(files), asked);
            (shared.log_max, shared.connections_max)
        };
        assert_eq!(share(20_000, None), (4096, 15_528));
        assert_eq!(share(20_000, Some(100)), (4096, 100));
        assert_eq!(share(20_000, Some(19_500)), (124, 19_500));
        assert_eq!(share(20_000, Some(50_000)), (64, 19_560));
        assert_eq!(share(1 << 20, None), (4096, CONNECTIONS_MAX));
        assert_eq!(share(100, None), (50, 38));
        assert_eq!(share(100, Some(20)), (50, 20));
        assert_eq!(share(0, None), (0, 1));
        let unknown = Files::share(None, Some(7));
        assert_eq!(
            (unknown.log_max, unknown.connections_max),
            (OPEN_FILES_MAX, 7)
        );
    }

    #[test]
    fn the_total_is_read_from_what_linux_says() {
        let text = "MemTotal:        1024 kB\nMemFree:  1 kB\n";
        assert_eq!(total(text), Some(1024 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_of_files_becomes_the_hard_one() {
        let raised = raise_open_files().unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, Some(raised));
        assert_eq!(limit.maximum, Some(raised));
    }
}

//! What this process holds.

use std::fs;

/// Resident memory in KiB; 0 where the system doesn't tell.
pub(crate) fn memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Open files and sockets; 0 where the system doesn't tell.
pub(crate) fn files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Tasks of the runtime that have not ended.
pub(crate) fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_system_tells() {
        assert!(super::memory_kib() > 100 && super::files() >= 3);
    }
}

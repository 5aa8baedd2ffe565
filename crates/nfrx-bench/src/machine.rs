//! What the figures were measured on.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

/// A machine in a few words.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    memory_mib: u64,
    /// Before we began: how many others wanted a core, on average over a minute.
    load: String,
}

impl Machine {
    /// What the kernel tells; what it does not tell is `unknown`.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let or_unknown = |text: Option<&str>| text.unwrap_or("unknown").trim().to_owned();
        let (cpuinfo, meminfo, loadavg) =
            (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/loadavg"));
        let memory_kib =
            value(&meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB")?.trim().parse().ok());
        Self {
            cores: available_parallelism().map_or(0, usize::from),
            processor: or_unknown(value(&cpuinfo, "model name")),
            kernel: or_unknown(
                Some(&read("/proc/sys/kernel/osrelease"))
                    .filter(|release| !release.is_empty())
                    .map(String::as_str),
            ),
            memory_mib: memory_kib.map_or(0, |kib: u64| kib / 1024),
            load: or_unknown(loadavg.split(' ').next()),
        }
    }
}

/// The value of the first `name: value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, memory_mib, load } = self;
        write!(f, "{cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, load before {load}")
    }
}

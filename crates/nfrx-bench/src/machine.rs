//! What the figures were measured on.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::process::ticks_per_second;

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

/// How long all cores together have worked since the machine started, for whomever.
pub(crate) fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read how busy the machine is")?;
    let ticks = busy_ticks(&stat).context("cannot understand /proc/stat")?;
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second()? as f64))
}

/// All but the idle and waiting times of the first line. Guests' times, at its end, are counted in
/// others already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let times = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = times.split_ascii_whitespace().map_while(|time| time.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = times[..] else { return None };
    Some(user + nice + system + irq + softirq + steal)
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

#[cfg(test)]
mod tests {
    use super::{busy_ticks, value};

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  10 20 30 400 500 1 2 3 99 99\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        // Seen to fail: with the idle time added.
        assert_eq!(busy_ticks(stat), Some(66));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
    }

    #[test]
    fn values_stand_behind_their_names() {
        let text = "MemTotal:       100 kB\nmodel name\t: Some Processor\n";
        assert_eq!(value(text, "model name"), Some("Some Processor"));
        assert_eq!(value(text, "MemFree"), None);
    }
}

//! What the system says of this process. Only Linux is read; elsewhere there are no
//! series.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nfrx_spi::Collector;
use nfrx_spi::metrics::{MetricFamily, MetricKind, Sample, SampleValue};

/// Linux counts a process's time in these, whatever its kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory, files, processor time and start of this process.
pub struct ProcessMetrics {
    started: f64,
}

impl ProcessMetrics {
    /// Notes the start.
    pub fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Self { started }
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for ProcessMetrics {
    fn collect(&self) -> Vec<MetricFamily> {
        use MetricKind::{Counter, Gauge};
        let memory = kilobytes("VmRSS:").map(|kb| kb * 1024.0);
        vec![
            family("process_cpu_seconds_total", "processor time used", Counter, cpu_seconds()),
            family(
                "process_max_fds",
                "how many files may be open",
                Gauge,
                file_limit().map(|max| max as f64),
            ),
            family("process_open_fds", "open files", Gauge, open_files()),
            family("process_resident_memory_bytes", "memory in use", Gauge, memory),
            family("process_start_time_seconds", "start, in Unix seconds", Gauge, Some(self.started)),
        ]
    }
}

fn family(name: &'static str, help: &'static str, kind: MetricKind, value: Option<f64>) -> MetricFamily {
    let sample = |value| Sample { labels: Vec::new(), value: SampleValue::Number(value) };
    MetricFamily { name, help, kind, samples: value.map(sample).into_iter().collect() }
}

fn kilobytes(key: &str) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: the 12th and 13th field after the name, which is in
/// parentheses and may hold anything.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((times.next()?? + times.next()??) / TICKS_PER_SECOND)
}

fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// How many files this process may have open.
pub fn file_limit() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Takes as many open files as the system lets this process have: a connection is one, and what
/// a shell or a unit gives by default is far fewer. Processes that it starts have as many.
#[cfg(unix)]
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Who can't have more goes on with what there is.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_file_limit() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_says_all_of_it() {
        let found = ProcessMetrics::new().collect();
        assert!(found.iter().all(|family| family.samples.len() == 1), "{found:?}");
    }
}

//! The agent's host: what it is, and how loaded it is (worker protocol §10.1).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nfrx_spi::Heartbeat;
use sysinfo::System;
use tokio::sync::watch;
use tracing::warn;

/// As often as heartbeats go out (worker protocol §3.2).
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What the host is: `hostname`, `os_name`, `os_version`, as far as they are known.
pub fn host_facts() -> BTreeMap<String, String> {
    let os_version = System::os_version().ok().or_else(|| System::kernel_version().ok());
    let facts = [
        ("hostname", System::host_name().ok()),
        ("os_name", Some(System::distribution_id())),
        ("os_version", os_version),
    ];
    facts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.trim().to_owned())))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Measures the host's load on its own beat; a heartbeat takes the newest measurement.
pub struct HostMonitor {
    load: Arc<watch::Sender<Load>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    cpu_percent: f64,
    ram_percent: f64,
}

impl HostMonitor {
    /// A monitor without a measurement yet.
    pub fn new() -> Self {
        Self { load: Arc::default() }
    }

    /// Gives the heartbeat of a moment; asking costs nothing.
    pub fn heartbeats(&self) -> impl Fn() -> Heartbeat + Send + Sync + 'static {
        let load = Arc::clone(&self.load);
        move || {
            let Load { cpu_percent, ram_percent } = *load.borrow();
            Heartbeat {
                ts: unix_seconds(SystemTime::now()),
                host_cpu_percent: cpu_percent,
                host_ram_used_percent: ram_percent,
            }
        }
    }

    /// Measures until it is dropped. It ends by itself only where nothing can be measured:
    /// heartbeats then say nothing of the load.
    pub async fn run(self) {
        let mut system = match System::new() {
            Ok(system) => system,
            Err(error) => {
                warn!(error = %error, "the load of this host can't be measured, heartbeats go without it");
                return;
            }
        };
        loop {
            // Reading the kernel's files blocks, if briefly.
            let measuring = tokio::task::spawn_blocking(move || {
                let load = measure(&mut system);
                (system, load)
            });
            let Ok((back, load)) = measuring.await else {
                warn!("measuring the load of this host failed, heartbeats go without it");
                self.load.send_replace(Load::default());
                return;
            };
            system = back;
            self.load.send_replace(load);
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
    }
}

impl Default for HostMonitor {
    fn default() -> Self {
        Self::new()
    }
}

/// The load since the last measurement; the first one knows no such time.
fn measure(system: &mut System) -> Load {
    let first = system.cpus().is_empty();
    system.refresh_cpu_usage();
    system.refresh_memory();
    let cpu_percent = if first { 0.0 } else { f64::from(system.global_cpu_usage()).clamp(0.0, 100.0) };
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no 64 bits")]
    let ram_percent = match system.total_memory() {
        0 => 0.0,
        total => (system.used_memory() as f64 / total as f64 * 100.0).clamp(0.0, 100.0),
    };
    Load { cpu_percent, ram_percent }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_known_by_name() {
        let facts = host_facts();
        assert!(facts.values().all(|value| !value.is_empty()));
        assert!(facts.contains_key("os_name"), "{facts:?}");
    }

    #[tokio::test]
    async fn heartbeats_carry_the_newest_measurement() {
        let monitor = HostMonitor::new();
        let (heartbeat, mut load) = (monitor.heartbeats(), monitor.load.subscribe());
        assert_eq!(heartbeat().host_ram_used_percent, 0.0);
        tokio::select! {
            () = monitor.run() => panic!("this system can be measured"),
            changed = load.changed() => changed.expect("the monitor is there"),
        }
        let beat = heartbeat();
        assert!(beat.host_ram_used_percent > 0.0 && beat.host_ram_used_percent <= 100.0);
        assert!(beat.ts > 0);
    }
}

//! A server with a swarm of workers, which come and leave in steps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::process::{Process, Usage};
use crate::swarm::Swarm;
use crate::target::{KEY, Target, free_addr};

/// How long a server may take to start, and a whole swarm to come or to leave.
const READY_MAX: Duration = Duration::from_secs(90);
const READY_RETRY: Duration = Duration::from_millis(50);
/// Before anything is read, so that what was begun has ended.
const SETTLE: Duration = Duration::from_secs(2);
/// More than there are files for: those are the bound.
const CONNECTIONS_MAX: &str = "1000000";
/// As long as any queue here.
const QUEUE_MAX: &str = "20000";

/// A running server. Dropping it ends it and its workers.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its only process is the server.
    pub(super) target: Target,
    pub(super) swarms: Vec<Process>,
    workers: u32,
    folder: PathBuf,
}

impl Relay {
    /// A server without workers; `folder` is its own.
    pub(super) async fn start(nfrx: &Path, folder: PathBuf) -> Result<Self> {
        let addr = free_addr()?;
        let mut server = Command::new(nfrx);
        server.arg("server").env_clear().env("HOME", &folder).env("LOG_LEVEL", "warn");
        server.env("LISTEN_ADDR", addr.to_string()).env("API_KEY", KEY).env("CLIENT_KEY", KEY);
        server.env("CONNECTIONS_MAX", CONNECTIONS_MAX).env("LLM_QUEUE_SIZE", QUEUE_MAX);
        let process = Process::start("server", server.current_dir(&folder), &folder)?;
        let target = Target::local("nfrx", addr, vec![process]);
        let mut relay = Self { target, swarms: Vec::new(), workers: 0, folder };
        relay.wait_for("nfrx_workers", 0).await?;
        Ok(relay)
    }

    /// Brings workers, and returns once the server counts them.
    pub(super) async fn join(&mut self, swarm: Swarm) -> Result<()> {
        let folder = self.folder.join(format!("swarm-{}", self.swarms.len()));
        std::fs::create_dir(&folder).context("cannot create a folder for a swarm")?;
        let program = std::env::current_exe().context("cannot find this very program")?;
        let mut command = Command::new(program);
        command.env_clear().args(swarm.arguments(self.target.addr));
        self.swarms.push(Process::start("swarm", &mut command, &folder)?);
        self.workers += swarm.count;
        self.wait_for("nfrx_workers", self.workers).await?;
        sleep(SETTLE).await;
        Ok(())
    }

    /// Ends all workers.
    pub(super) async fn leave(&mut self) -> Result<()> {
        self.swarms.clear();
        self.workers = 0;
        self.wait_for("nfrx_workers", 0).await?;
        sleep(SETTLE).await;
        Ok(())
    }

    /// What the server has used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        self.target.processes[0].usage()
    }

    /// How much processor time the server uses in a second of nothing but heartbeats.
    pub(super) async fn rest(&self, window: Duration) -> Result<Duration> {
        let (before, start) = (self.usage()?.cpu, Instant::now());
        sleep(window).await;
        let used = self.usage()?.cpu.saturating_sub(before);
        Ok(used.div_f64(start.elapsed().as_secs_f64()))
    }

    /// Waits until a gauge of language models, over all its labels, is `wanted`.
    pub(super) async fn wait_for(&mut self, gauge: &str, wanted: u32) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            for process in self.target.processes.iter_mut().chain(&mut self.swarms) {
                process.check_running()?;
            }
            let seen = match metrics(self.target.addr).await {
                Ok(text) => match sum(&text, gauge) {
                    Some(value) if value == f64::from(wanted) => return Ok(()),
                    value => format!("{gauge} is {value:?}"),
                },
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() >= deadline {
                bail!("after {READY_MAX:?} {gauge} is not {wanted}: {seen}");
            }
            sleep(READY_RETRY).await;
        }
    }
}

/// What the server says of itself, asked from an address that nobody else here uses.
async fn metrics(addr: SocketAddr) -> Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 9], 0).into())?;
    let mut socket = socket.connect(addr).await?;
    let ask = format!(
        "GET /metrics HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(ask.as_bytes()).await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("{}", text.lines().next().unwrap_or("no answer"));
    }
    Ok(text)
}

/// The sum of a gauge's samples for language models.
fn sum(text: &str, gauge: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(gauge)?.strip_prefix('{')?.rsplit_once("} ")?;
        labels.contains("ext=\"llm\"").then(|| value.parse::<f64>().ok()).flatten()
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_gauge_is_summed_over_what_concerns_language_models() {
        let text = "# TYPE nfrx_workers gauge\nnfrx_workers{ext=\"llm\",status=\"idle\"} 3\n\
                    nfrx_workers{ext=\"asr\",status=\"idle\"} 50\nnfrx_workers{ext=\"llm\",status=\"gone\"} 4\n\
                    nfrx_workers_more{ext=\"llm\"} 700\n";
        // Seen to fail: with every plugin's samples, and with the first one alone.
        assert_eq!(sum(text, "nfrx_workers"), Some(7.0));
        assert_eq!(sum(text, "nfrx_queue_length"), None);
    }
}

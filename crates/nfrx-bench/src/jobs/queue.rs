//! A queue that is measured: its process, and how to reach it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::link::{Link, Requests};
use super::redis;
use crate::process::Process;
use crate::target::{KEY, free_addr};

/// How long a queue may take until it answers, and between two attempts.
const READY_MAX: Duration = Duration::from_secs(20);
const READY_RETRY: Duration = Duration::from_millis(20);

/// What an answer promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// The job is on the disk.
    Durable,
    /// The job is in memory.
    Memory,
}

/// Which queue, run how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind<'a> {
    pub(super) name: &'static str,
    pub(super) program: &'a Path,
    pub(super) mode: Mode,
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Durable => "durable",
            Mode::Memory => "memory",
        };
        write!(f, "{} {mode}", self.name)
    }
}

/// What our queue is called.
pub(super) const NFRX: &str = "nfrx";
/// What the peer is called.
pub(super) const REDIS: &str = "redis";

/// A running queue, empty at its start.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) process: Process,
    addr: SocketAddr,
    /// For ours.
    requests: Option<Rc<Requests>>,
}

impl Queue {
    /// Starts it in an empty folder, and waits until it takes a job of the first type.
    pub(super) async fn start(kind: Kind<'_>, types: usize, folder: &Path) -> Result<Self> {
        let addr = free_addr()?;
        let (process, requests) = match kind.name {
            REDIS => (redis::start(kind.program, kind.mode, addr, folder)?, None),
            _ => (server(kind, addr, folder)?, Some(Requests::new(&addr.to_string(), types))),
        };
        let mut queue = Self { process, addr, requests };
        let deadline = Instant::now() + READY_MAX;
        while let Err(error) = queue.try_once().await {
            queue.process.check_running().with_context(|| format!("{kind} is not ready"))?;
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("{kind}: {}", queue.process.log_end()));
            }
            sleep(READY_RETRY).await;
        }
        Ok(queue)
    }

    /// A new connection.
    pub(super) async fn link(&self) -> Result<Link> {
        match &self.requests {
            Some(requests) => Link::nfrx(self.addr, Rc::clone(requests)).await,
            None => Link::redis(self.addr).await,
        }
    }

    async fn try_once(&self) -> Result<()> {
        let mut link = self.link().await?;
        link.create(0).await?;
        link.claim(0).await
    }
}

/// `nfrx server` with keys, as it would run.
fn server(kind: Kind<'_>, addr: SocketAddr, folder: &Path) -> Result<Process> {
    let mut server = Command::new(kind.program);
    server.arg("server").env_clear().env("HOME", folder).env("LOG_LEVEL", "warn");
    server.env("LISTEN_ADDR", addr.to_string()).env("NFRX_STATE_DIR", folder);
    server.env("API_KEY", KEY).env("CLIENT_KEY", KEY);
    // Clients that only make jobs don't watch them: none is to be given up while it waits.
    server.env("JOBS_CLIENT_TTL", "0");
    if kind.mode == Mode::Memory {
        server.env("JOBS_STORE", "memory");
    }
    Process::start(NFRX, server.current_dir(folder), folder)
}

//! What is measured: the backend itself, this relay, and other ways to the same backend.
//!
//! Every target leads to one simulated backend and has processes of its own, so that what they use
//! can be told apart. All listen on loopback, on ports that were free.

mod nfrx;
mod nginx;
mod rathole;
mod url;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::nfrx::{nfrx, nfrx_over};
pub(crate) use self::nginx::nginx;
pub(crate) use self::rathole::rathole;
pub(crate) use self::url::peer;
use crate::http::{Client, Request};
use crate::process::Process;

/// The key of clients and of agents. Every target is sent it, whether it looks at it or not.
pub(crate) const KEY: &str = "bench";

/// How long a target may take until it answers.
const READY_MAX: Duration = Duration::from_secs(20);
/// Between two attempts.
const READY_RETRY: Duration = Duration::from_millis(50);

/// A way to the backend.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    /// What clients send as `Host`.
    host: String,
    /// Stands before the path of every request.
    base: String,
    pub(crate) processes: Vec<Process>,
}

impl Target {
    /// On this machine, without a base.
    pub(crate) fn local(name: &str, addr: SocketAddr, processes: Vec<Process>) -> Self {
        Self { name: name.to_owned(), addr, host: addr.to_string(), base: String::new(), processes }
    }

    /// The backend without anything before it.
    pub(crate) fn direct(backend: &Backend) -> Self {
        Self::local("direct", backend.addr, Vec::new())
    }

    /// A request as this target wants it.
    pub(crate) fn request(&self, path: &str, content_type: &str, body: &[u8]) -> Request {
        Request::post(&self.host, &format!("{}{path}", self.base), KEY, content_type, body)
    }

    /// Waits until a request for words gets through to the backend.
    pub(crate) async fn ready(self) -> Result<Self> {
        let body = br#"{"model":"demo","messages":[{"role":"user","content":"ready?"}],"max_tokens":1}"#;
        let request = self.request("/v1/chat/completions", "application/json", body);
        self.ready_for(&request).await
    }

    /// Waits until this request gets through to the backend.
    pub(crate) async fn ready_for(mut self, request: &Request) -> Result<Self> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            for process in &mut self.processes {
                process.check_running().with_context(|| format!("{} is not ready", self.name))?;
            }
            let failure = match timeout_at(deadline, ask_once(self.addr, request)).await {
                Ok(Ok(())) => return Ok(self),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                let logs: Vec<_> = self.processes.iter().map(Process::log_end).collect();
                bail!("{} is not ready after {READY_MAX:?} ({failure})\n{}", self.name, logs.join("\n"));
            }
            sleep(READY_RETRY).await;
        }
    }
}

async fn ask_once(addr: SocketAddr, request: &Request) -> Result<()> {
    Client::connect(addr).await?.ask(request, |_, _| {}).await?;
    Ok(())
}

/// The simulated backend, in a process of its own.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) addr: SocketAddr,
    pub(crate) process: Process,
}

impl Backend {
    /// Starts this program again, as the backend.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let addr = free_addr()?;
        let program = std::env::current_exe().context("cannot find this very program")?;
        let mut command = Command::new(program);
        command.env_clear().arg(crate::BACKEND).arg(addr.to_string());
        let process = Process::start("sim", &mut command, folder)?;
        let target = Target::local("the simulated backend", addr, vec![process]).ready().await?;
        let process = target.processes.into_iter().next().context("the backend has a process")?;
        Ok(Self { addr, process })
    }
}

/// A loopback address nobody listens on now.
pub(crate) fn free_addr() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    listener.local_addr().context("cannot find a free port")
}

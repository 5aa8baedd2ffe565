//! This relay: `nfrx server` and its agents for words and for speech, with keys, as they would run on two
//! machines.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Backend, KEY, Target, free_addr};
use crate::figure::speech;
use crate::process::Process;

/// The most an agent offers, and more than any figure's concurrency: nothing waits in the queue.
const CONCURRENCY_MAX: &str = "256";

/// Starts all; `program` is the `nfrx` binary.
pub(crate) async fn nfrx(program: &Path, backend: &Backend, folder: &Path) -> Result<Target> {
    let addr = free_addr()?;
    let mut target = nfrx_over(program, backend, folder, addr, addr).await?;
    let mut asr = agent(program, "asr", addr, folder);
    asr.env("ASR_BASE_URL", format!("http://{}/v1", backend.addr));
    target.processes.push(Process::start("asr", &mut asr, folder)?);
    let short = speech(&target, 1024);
    target.ready_for(&short).await
}

/// A server at `addr` and the agent for words, which dials it at `dialed`, where something may lie
/// between them.
pub(crate) async fn nfrx_over(
    program: &Path,
    backend: &Backend,
    folder: &Path,
    addr: SocketAddr,
    dialed: SocketAddr,
) -> Result<Target> {
    let mut server = Command::new(program);
    server.arg("server").env_clear().env("HOME", folder).env("LOG_LEVEL", "warn");
    server.env("LISTEN_ADDR", addr.to_string());
    server.env("API_KEY", KEY).env("CLIENT_KEY", KEY);
    let mut llm = agent(program, "llm", dialed, folder);
    llm.env("COMPLETION_BASE_URL", format!("http://{}/v1", backend.addr));
    let processes = vec![
        Process::start("server", server.current_dir(folder), folder)?,
        Process::start("agent", &mut llm, folder)?,
    ];
    Target::local("nfrx", addr, processes).ready().await
}

fn agent(program: &Path, service: &str, dialed: SocketAddr, folder: &Path) -> Command {
    let mut agent = Command::new(program);
    agent.arg(service).env_clear().env("HOME", folder).env("LOG_LEVEL", "warn").current_dir(folder);
    agent.env("SERVER_URL", format!("ws://{dialed}/api/{service}/connect")).env("CLIENT_KEY", KEY);
    // Started before its server listens, the agent tries again.
    agent.env("MAX_CONCURRENCY", CONCURRENCY_MAX).env("RECONNECT", "true");
    agent
}

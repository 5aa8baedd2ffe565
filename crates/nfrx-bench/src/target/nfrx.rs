//! This relay: `nfrx server` and `nfrx llm`, with keys, as it would run on two machines.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Backend, KEY, Target, free_addr};
use crate::process::Process;

/// The most an agent offers, and more than any figure's concurrency: nothing waits in the queue.
const CONCURRENCY_MAX: &str = "256";

/// Starts both; `program` is the `nfrx` binary.
pub(crate) async fn nfrx(program: &Path, backend: &Backend, folder: &Path) -> Result<Target> {
    let addr = free_addr()?;
    nfrx_over(program, backend, folder, addr, addr).await
}

/// The same with a server at `addr` that the agent dials at `dialed`, where something may lie
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
    let mut agent = Command::new(program);
    agent.arg("llm").env_clear().env("HOME", folder).env("LOG_LEVEL", "warn");
    agent.env("SERVER_URL", format!("ws://{dialed}/api/llm/connect")).env("CLIENT_KEY", KEY);
    agent.env("COMPLETION_BASE_URL", format!("http://{}/v1", backend.addr));
    // Started before its server listens, the agent tries again.
    agent.env("MAX_CONCURRENCY", CONCURRENCY_MAX).env("RECONNECT", "true");
    let processes = vec![
        Process::start("server", server.current_dir(folder), folder)?,
        Process::start("agent", agent.current_dir(folder), folder)?,
    ];
    Target::local("nfrx", addr, processes).ready().await
}

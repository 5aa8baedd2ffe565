//! The plugin's part of the state API (MCP contract §7.1).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nfrx_spi::{McpClientSnapshot, McpSessionSnapshot, McpState, StateElement, WorkerStatus};
use serde_json::Value;

use super::agent::Agent;
use super::registry::Registry;
use super::running::Board;
use crate::offer::ServerOffer;

/// Looks at agents and calls when it is asked.
pub(super) struct Snapshot {
    registry: Arc<Registry>,
    board: Arc<Board>,
}

impl Snapshot {
    pub(super) fn new(registry: Arc<Registry>, board: Arc<Board>) -> Self {
        Self { registry, board }
    }

    fn take(&self) -> McpState {
        let sessions = self.board.snapshot();
        let mut clients = Vec::new();
        for agent in self.registry.agents() {
            for server in &*agent.servers() {
                clients.push(client(&agent, server, &sessions));
            }
        }
        McpState { clients, sessions }
    }
}

/// An agent's server. Replicas of an id are apart, and share what runs under it.
fn client(agent: &Agent, server: &ServerOffer, sessions: &[McpSessionSnapshot]) -> McpClientSnapshot {
    let mut functions = BTreeMap::new();
    for session in sessions.iter().filter(|session| session.client_id == server.id) {
        *functions.entry(session.method.clone()).or_insert(0) += 1;
    }
    let inflight = functions.values().sum();
    let status = match () {
        () if agent.draining.load(Ordering::Acquire) => WorkerStatus::Draining,
        () if inflight > 0 => WorkerStatus::Working,
        () if server.ready => WorkerStatus::Idle,
        () => WorkerStatus::NotReady,
    };
    McpClientSnapshot {
        id: server.id.clone(),
        name: if server.name.is_empty() { server.id.clone() } else { server.name.clone() },
        status: text(status),
        inflight,
        functions,
    }
}

/// The status as it is written. The old relay knew `active` and `idle` only, for calls that
/// run and for none (MCP contract §7.1).
fn text(status: WorkerStatus) -> String {
    match status {
        WorkerStatus::Working => "active".to_owned(),
        other => {
            let value = serde_json::to_value(other).unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        }
    }
}

impl StateElement for Snapshot {
    fn id(&self) -> &'static str {
        super::ID
    }

    fn data(&self) -> Value {
        serde_json::to_value(self.take()).unwrap_or_default()
    }
}

//! What an agent knows of itself, for its own operator; none of it goes to the relay.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use nfrx_spi::metrics::{Counter, Family};
use nfrx_tunnel::LinkError;
use tokio::sync::watch;

use crate::jobs::{JobGuard, Jobs};

/// The document of worker protocol §9.7, without its outer form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// Whether the tunnel stands.
    pub connected_to_server: bool,
    /// Whether a connection to the server is being made.
    pub connecting: bool,
    /// Whether the last probe succeeded.
    pub connected_to_backend: bool,
    /// Whether the agent finishes what it has and takes nothing new.
    pub draining: bool,
    /// Whether the agent is about to end.
    pub terminating: bool,
    /// Whether the agent gave up.
    pub failed: bool,
    /// Requests at the backend.
    pub current_jobs: u32,
    /// Requests that are offered to be taken at once; 0 while not ready or draining.
    pub max_concurrency: u32,
    /// What went wrong last; empty when the last probe succeeded. May name addresses.
    pub last_error: String,
    /// When a heartbeat was sent last.
    pub last_heartbeat: Option<SystemTime>,
    /// The id the agent registers with.
    pub worker_id: String,
    /// The name for people.
    pub worker_name: String,
    /// The agent's version.
    pub version: String,
    /// Facts about host and backend, as offered.
    pub agent_config: BTreeMap<String, String>,
    /// The labels on offer.
    pub labels: Vec<String>,
}

/// An agent's state in one word (worker protocol §9.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// No tunnel, and none is being made.
    Disconnected,
    /// The tunnel stands, the backend is away.
    NotReady,
    /// The tunnel is being made.
    Connecting,
    /// Ready, without a request.
    ConnectedIdle,
    /// Ready, with requests.
    ConnectedBusy,
    /// Finishes what it has.
    Draining,
    /// Gave up.
    Error,
    /// About to end.
    Terminating,
}

impl AgentStatus {
    /// The state, of which the later stage of an agent's life wins.
    pub fn state(&self) -> AgentState {
        match self {
            Self { terminating: true, .. } => AgentState::Terminating,
            Self { failed: true, .. } => AgentState::Error,
            Self { draining: true, .. } => AgentState::Draining,
            Self { connecting: true, .. } => AgentState::Connecting,
            Self { connected_to_server: false, .. } => AgentState::Disconnected,
            Self { connected_to_backend: false, .. } => AgentState::NotReady,
            Self { current_jobs: 0, .. } => AgentState::ConnectedIdle,
            _ => AgentState::ConnectedBusy,
        }
    }
}

impl AgentStatus {
    /// How many requests are offered to be taken at once: none while it drains.
    pub fn offered_concurrency(&self) -> u32 {
        if self.draining || self.terminating { 0 } else { self.max_concurrency }
    }
}

impl AgentState {
    /// The word in the status document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::NotReady => "not_ready",
            Self::Connecting => "connecting",
            Self::ConnectedIdle => "connected_idle",
            Self::ConnectedBusy => "connected_busy",
            Self::Draining => "draining",
            Self::Error => "error",
            Self::Terminating => "terminating",
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the parts of an agent write what they know. Clones share it.
#[derive(Debug, Clone)]
pub struct StatusBoard {
    status: Arc<watch::Sender<AgentStatus>>,
    jobs: Arc<Jobs>,
    link_failures: Arc<LinkFailures>,
}

/// How often there was no tunnel, by reason.
pub(crate) type LinkFailures = Family<Counter, 1>;

impl Default for StatusBoard {
    fn default() -> Self {
        let link_failures = Family::new(
            "nfrx_worker_link_failures_total",
            "tunnels that ended and dials that failed",
            ["reason"],
            LinkError::REASONS.len(),
            Counter::default,
        );
        link_failures.begin_at_zero(LinkError::REASONS.map(|reason| [reason]));
        Self { status: Arc::default(), jobs: Arc::default(), link_failures: Arc::new(link_failures) }
    }
}

impl StatusBoard {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is on the board, and every change of it. Of the number of requests it is told
    /// when there is one again, and when there is none any more.
    pub fn watch(&self) -> watch::Receiver<AgentStatus> {
        self.status.subscribe()
    }

    /// Writes on the board.
    pub fn update(&self, change: impl FnOnce(&mut AgentStatus)) {
        self.status.send_modify(change);
    }

    /// Counts requests at the backend: one more or one less.
    pub(crate) fn count_job(&self, change: i32) {
        self.status.send_if_modified(|status| {
            let before = status.current_jobs;
            status.current_jobs = before.saturating_add_signed(change);
            (before == 0) != (status.current_jobs == 0)
        });
    }

    /// Counts a request at the backend until the guard is dropped.
    pub fn job(&self) -> JobGuard {
        JobGuard::new(self.clone())
    }

    /// What became of all requests so far.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn link_failures(&self) -> &Arc<LinkFailures> {
        &self.link_failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: with every change told, and with none.
    #[test]
    fn of_the_requests_only_the_first_and_the_end_of_the_last_are_told() {
        let board = StatusBoard::new();
        let mut watch = board.watch();
        let mut told = || {
            let told = watch.has_changed().expect("the board is there");
            (told, watch.borrow_and_update().current_jobs)
        };
        let first = board.job();
        assert_eq!(told(), (true, 1));
        let second = board.job();
        assert_eq!(told(), (false, 2));
        drop(first);
        assert_eq!(told(), (false, 1));
        drop(second);
        assert_eq!(told(), (true, 0));
    }

    #[test]
    fn the_state_follows_from_the_facts() {
        let board = StatusBoard::new();
        let state = || board.watch().borrow().state().as_str();
        assert_eq!(state(), "disconnected");
        board.update(|status| status.connecting = true);
        assert_eq!(state(), "connecting");
        board.update(|status| (status.connecting, status.connected_to_server) = (false, true));
        assert_eq!(state(), "not_ready");
        board.update(|status| status.connected_to_backend = true);
        assert_eq!(state(), "connected_idle");
        let job = board.job();
        assert_eq!(state(), "connected_busy");
        drop(job);
        assert_eq!(state(), "connected_idle");
        board.update(|status| status.draining = true);
        assert_eq!(state(), "draining");
        board.update(|status| status.terminating = true);
        assert_eq!(state(), "terminating");
    }
}

//! Workers: what an agent says of itself, the tunnel it can be reached through, and
//! what a plugin sees of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use serde::{Deserialize, Serialize};

use crate::{Body, BoxFuture, Caller, Moment};

/// How a worker is (metrics contract §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Its tunnel stands; nothing else is known yet.
    Connected,
    /// At least one request is with it.
    Working,
    /// It could take a request and has none.
    Idle,
    /// It has granted no slots: its backend is away.
    NotReady,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// Its tunnel is closed.
    Gone,
}

/// The first thing an agent says of itself (worker protocol §3.1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Chosen by the agent; empty when the server shall choose.
    #[serde(default)]
    pub worker_id: String,
    /// For people; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub worker_name: String,
    /// The labels it offers; for LLMs model names.
    #[serde(default, deserialize_with = "null_is_default")]
    pub models: Vec<String>,
    /// How many requests it takes at once; 0 = connected but not ready.
    #[serde(default)]
    pub max_concurrency: u32,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The agent's commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub build_sha: String,
    /// The agent's build date.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub build_date: String,
    /// Facts about its host and backend (worker protocol §3.4).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub agent_config: BTreeMap<String, String>,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A change of what a worker offers (worker protocol §3.3).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// How many requests it takes at once; always applied.
    #[serde(default)]
    pub max_concurrency: u32,
    /// `None` keeps the labels, an empty list withdraws them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// For display; known texts are those of [`WorkerStatus`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Merged: only keys present and not empty change anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_config: Option<BTreeMap<String, String>>,
}

/// A sign of life with the host's load (worker protocol §3.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Unix seconds at the agent; not checked.
    #[serde(default)]
    pub ts: i64,
    /// Load over all cores, 0 to 100; 0 when unknown.
    #[serde(default)]
    pub host_cpu_percent: f64,
    /// Memory used, 0 to 100; 0 when unknown.
    #[serde(default)]
    pub host_ram_used_percent: f64,
}

/// The one connection an agent dialed out, whatever carries it (decision 5).
///
/// Implemented by `nfrx-tunnel` for each carrier; above it nobody can tell which. Called by
/// pools and by plugins with an intake of their own, from any task; nothing blocks.
pub trait Tunnel: Send + Sync + 'static {
    /// Sends a request and gives the head of its answer; the body streams.
    ///
    /// `:path` is the worker's path with the query; headers go as they are, so whoever
    /// calls decides what a worker may see of a client's (KD-15). Dropping the future, or
    /// the answer's body before its end, cancels the request at the agent. There is no limit
    /// of time here but the tunnel's own end. The answer is a worker's: bound it, and take
    /// no header of it for granted.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;

    /// When something last came from the agent, a heartbeat or anything else.
    fn last_seen(&self) -> Moment;

    /// The round trip measured last, if the carrier measures it.
    fn round_trip(&self) -> Option<Duration>;

    /// The carrier's name for state and logs: `nfrx.h2` or `v1`.
    fn carrier(&self) -> &'static str;

    /// Tells the agent to register elsewhere; what runs goes on. At once.
    fn drain(&self);

    /// Closes the tunnel with a reason for the agent; running requests fail.
    fn close(&self, reason: CloseReason);
}

/// Why the server closes a tunnel; the agent logs it and reacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// A newer connection of the same worker took its place (KD-22).
    Replaced,
    /// Nothing came for too long.
    Expired,
    /// The server ends.
    ServerStopping,
    /// An operator closed it.
    Disconnected,
    /// The agent broke the protocol or its bounds.
    ProtocolError,
    /// The agent said that it leaves.
    AgentLeft,
    /// The key it came in with was revoked.
    Unauthorized,
}

impl CloseReason {
    /// The text the agent reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced by a newer connection with the same worker id",
            Self::Expired => "nothing came from the agent for too long",
            Self::ServerStopping => "server shutting down",
            Self::Disconnected => "disconnected by an operator",
            Self::ProtocolError => "protocol error",
            Self::AgentLeft => "drained",
            Self::Unauthorized => "the agent's key is no longer valid",
        }
    }
}

/// Why a worker gave no answer. A variant exists because the dispatcher reacts to it
/// differently (decision 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The tunnel closed, or was closed already.
    #[error("the worker's tunnel closed")]
    Lost,
    /// The agent drains: it takes nothing new (KD-8).
    #[error("the worker drains")]
    Draining,
    /// The agent's own ceiling is reached (KD-66).
    #[error("the worker is at its own ceiling")]
    Busy,
    /// The agent can't reach its backend.
    #[error("the worker's backend can't be reached")]
    Unreachable,
    /// The backend was silent for longer than the agent's limit.
    #[error("the worker's backend was silent for too long")]
    Timeout,
    /// The backend's answer broke HTTP, or broke off before its head ended.
    #[error("the worker's backend failed")]
    Upstream,
    /// The request's own body broke off: its client went away.
    #[error("the request's body broke off")]
    RequestBody,
    /// The request is larger than the worker's connection carries.
    #[error("the worker's connection carries requests of up to {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The agent refused the request by its own policy.
    #[error("the worker refused the request")]
    Refused,
}

impl CallError {
    /// Whether another worker may be tried, if the request can be sent again.
    pub fn may_retry(self) -> bool {
        match self {
            Self::Lost | Self::Draining | Self::Busy | Self::Unreachable => true,
            Self::Timeout | Self::Upstream | Self::RequestBody | Self::TooLarge { .. } | Self::Refused => {
                false
            }
        }
    }

    /// The code in metrics and between relay and agent (KD-30).
    pub fn code(self) -> &'static str {
        match self {
            Self::Lost => "closed",
            Self::Draining => "worker_draining",
            Self::Busy => "worker_busy",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Upstream => "upstream_error",
            Self::RequestBody => "canceled",
            Self::TooLarge { .. } => "too_large",
            Self::Refused => "refused",
        }
    }

    /// The error of a code that an agent sent; an unknown one is the backend's.
    pub fn from_code(code: &str) -> Self {
        match code {
            "worker_draining" => Self::Draining,
            "worker_busy" => Self::Busy,
            "unreachable" => Self::Unreachable,
            "timeout" => Self::Timeout,
            "refused" => Self::Refused,
            _ => Self::Upstream,
        }
    }
}

/// One agent's offer to one plugin, as the pool sees it.
///
/// Implemented by `nfrx-pool`; called by handlers, from any task. It stays valid when the
/// worker leaves: calls fail with [`CallError::Lost`] then.
pub trait WorkerRef: Send + Sync + 'static {
    /// Its id, unique among the connected workers of a plugin.
    fn id(&self) -> &str;

    /// Its name for people.
    fn name(&self) -> &str;

    /// When it last showed that it lives.
    fn last_heartbeat(&self) -> Moment;

    /// How many elements of partitioned work it likes at once; 0 = no preference. An agent
    /// says so under the key `embedding_batch_size` of its configuration, whatever kind of
    /// work it does.
    fn preferred_batch_size(&self) -> u32;

    /// How many requests are with it.
    fn in_flight(&self) -> u32;

    /// Sends a request and streams its answer; see [`Tunnel::call`]. Takes no slot: call a
    /// worker that was picked, or one slot's worth of work may become two.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}

/// Where a tunnel brings its worker once the agent has registered: the pool of a
/// plugin.
pub trait WorkerIntake: Send + Sync + 'static {
    /// Admits a worker, or says why not. Called once per tunnel, from its task, before
    /// the agent is welcomed; nothing is scheduled on the worker before
    /// [`Membership::open`].
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused>;
}

/// A worker at the door.
pub struct Newcomer {
    /// What the agent says of itself; ids and names are cut to length by the tunnel.
    pub registration: Registration,
    /// Its connection.
    pub tunnel: Arc<dyn Tunnel>,
    /// Who dialed, as the login gate found it.
    pub caller: Caller,
    /// The token of the registration that this one continues, if the agent has one.
    pub resume: Option<String>,
}

/// An admitted worker.
pub struct Joined {
    /// Its id, made by the server when the agent gave none.
    pub worker_id: String,
    /// Counts the connections of this pool: a later one is greater.
    pub epoch: u64,
    /// Allows a later connection to take this id over (decision 7).
    pub resume: String,
    /// The worker's place in the pool; dropping it is leaving.
    pub membership: Box<dyn Membership>,
}

/// A worker's place in its pool. Dropping it takes the worker out; a place that a newer
/// connection took over is left alone (KD-22).
pub trait Membership: Send + Sync + 'static {
    /// From here on the worker may be given requests.
    fn open(&self);

    /// Applies what the agent says of a change.
    fn update(&self, update: StatusUpdate);

    /// Notes a sign of life.
    fn heartbeat(&self, heartbeat: Heartbeat);
}

/// Why a worker was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// Another connection holds the id, and the newcomer can't show that it is the same
    /// agent (decision 7).
    #[error("worker id `{worker_id}` is in use by another connection")]
    IdInUse {
        /// The id.
        worker_id: String,
    },
    /// The key used may not register this id.
    #[error("this key may not register worker id `{worker_id}`")]
    IdNotAllowed {
        /// The id.
        worker_id: String,
    },
    /// The pool holds as many workers as it may.
    #[error("the server holds {workers_max} workers already")]
    Full {
        /// The bound.
        workers_max: usize,
    },
    /// The server is about to end.
    #[error("the server is draining")]
    Draining,
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newcomer").field("registration", &self.registration).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_agents_registration_is_read() {
        let text = r#"{"type":"register","worker_id":"w","client_key":"","models":null,
            "max_concurrency":2,"agent_config":{"hostname":"den"},"unknown":1}"#;
        let read: Registration = serde_json::from_str(text).expect("valid by the contract");
        assert_eq!((read.worker_id.as_str(), read.models.len(), read.max_concurrency), ("w", 0, 2));
        assert_eq!(read.agent_config["hostname"], "den");
    }

    #[test]
    fn absent_models_keep_and_empty_models_withdraw() {
        let keep: StatusUpdate = serde_json::from_str(r#"{"max_concurrency":1}"#).expect("valid");
        let null: StatusUpdate = serde_json::from_str(r#"{"models":null}"#).expect("valid");
        let clear: StatusUpdate = serde_json::from_str(r#"{"models":[]}"#).expect("valid");
        assert_eq!((keep.models, null.models, clear.models), (None, None, Some(vec![])));
    }
}

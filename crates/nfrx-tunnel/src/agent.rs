//! The agent's end: speaks as the HTTP/2 server, keeps the control stream, carries
//! requests to the service behind it.

mod control;
mod serve;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, CallError, Registration, StatusUpdate, WorkerStatus};

pub(crate) use serve::{Ended, Session, Shared, serve};

/// Answers the requests of a tunnel.
pub trait AgentService: Send + Sync + 'static {
    /// Answers one request. Dropping the future, or the body of the answer, cancels it.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>>;
}

/// Who an agent is; the same for the whole life of its process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The id to register with; empty when the server shall choose.
    pub worker_id: String,
    /// For people.
    pub worker_name: String,
    /// The agent's version.
    pub version: String,
    /// The agent's commit.
    pub build_sha: String,
    /// The agent's build date.
    pub build_date: String,
}

/// What an agent offers now. Only the newest is kept and sent (KD-18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The labels.
    pub models: Vec<String>,
    /// Requests at once; 0 while the backend is away.
    pub max_concurrency: u32,
    /// For display.
    pub status: WorkerStatus,
    /// Facts about host and backend (worker protocol §3.4).
    pub agent_config: BTreeMap<String, String>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            max_concurrency: 0,
            status: WorkerStatus::NotReady,
            agent_config: BTreeMap::new(),
        }
    }
}

impl Offer {
    pub(crate) fn registration(&self, identity: &Identity, resumed_id: Option<&str>) -> Registration {
        Registration {
            worker_id: resumed_id.unwrap_or(&identity.worker_id).to_owned(),
            worker_name: identity.worker_name.clone(),
            models: self.models.clone(),
            max_concurrency: self.max_concurrency,
            version: identity.version.clone(),
            build_sha: identity.build_sha.clone(),
            build_date: identity.build_date.clone(),
            agent_config: self.agent_config.clone(),
        }
    }

    pub(crate) fn update(&self) -> StatusUpdate {
        let status = serde_json::to_value(self.status).ok();
        StatusUpdate {
            max_concurrency: self.max_concurrency,
            models: Some(self.models.clone()),
            status: status.and_then(|status| status.as_str().map(str::to_owned)),
            agent_config: Some(self.agent_config.clone()),
        }
    }

    /// The same while the agent drains: nothing new, whatever the backend says (KD-46).
    pub fn drained(mut self) -> Self {
        self.max_concurrency = 0;
        self.status = WorkerStatus::Draining;
        self
    }
}

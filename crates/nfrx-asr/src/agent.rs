//! The agent half: a speech recogniser behind an agent.
//!
//! What is particular to it is here: how it is probed, which of its paths may pass, where
//! it is. Everything else is `nfrx-agent`'s.

mod options;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use nfrx_agent::client::BackendClient;
use nfrx_agent::{
    Agent, AgentConfig, AgentError, AgentParts, AllowList, Backend, BackendKey, Found, ProbeError, Question,
};
use nfrx_spi::BoxFuture;

pub use options::{AsrConfig, asr_agent_specs};

/// The time between a good probe and the next (worker protocol §9.2).
const POLL_INTERVAL: Duration = Duration::from_secs(20);

/// The agent that fronts the recogniser of `asr`.
pub fn agent(config: AgentConfig, asr: &AsrConfig) -> Result<Agent, AgentError> {
    let client = BackendClient::new(asr.base.clone(), config.request_timeout)?;
    agent_with(config, asr, client)
}

/// The same with a client of the caller's, as tests have it.
pub fn agent_with(config: AgentConfig, asr: &AsrConfig, client: BackendClient) -> Result<Agent, AgentError> {
    let backend = Arc::new(Recogniser { client: client.clone(), key: asr.key.clone() });
    let parts = AgentParts {
        client,
        key: asr.key.clone(),
        backend,
        allowed: allowed(),
        poll_interval: POLL_INTERVAL,
    };
    Ok(Agent::new(config, parts)?)
}

/// The paths of a recogniser that a relay may ask for.
pub fn allowed() -> AllowList {
    AllowList::new().exact(Method::POST, "/audio/transcriptions")
}

/// A speech recogniser, as the probe loop asks it (worker protocol §10.2).
struct Recogniser {
    client: BackendClient,
    key: Option<BackendKey>,
}

impl Backend for Recogniser {
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>> {
        Box::pin(async {
            let (base, key) = (self.client.base(), self.key.as_ref());
            let question = Question { base, path: "/models", key, about: "models" };
            let models = question.names(&self.client, "data", "id").await?;
            Ok(Found { models, ..Found::default() })
        })
    }
}

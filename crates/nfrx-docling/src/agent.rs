//! The agent half: a document converter behind an agent.
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
    Agent, AgentConfig, AgentError, AgentParts, AllowList, Backend, Found, ProbeError, Question,
};
use nfrx_spi::BoxFuture;

pub use options::{DoclingConfig, docling_agent_specs};

/// The time between a good probe and the next (worker protocol §9.2).
const POLL_INTERVAL: Duration = Duration::from_secs(20);

/// The agent that fronts the converter of `docling`.
pub fn agent(config: AgentConfig, docling: &DoclingConfig) -> Result<Agent, AgentError> {
    let client = BackendClient::new(docling.base.clone(), config.request_timeout)?;
    agent_with(config, docling, client)
}

/// The same with a client of the caller's, as tests have it.
pub fn agent_with(
    config: AgentConfig,
    docling: &DoclingConfig,
    client: BackendClient,
) -> Result<Agent, AgentError> {
    let backend = Arc::new(Converter { client: client.clone() });
    let parts = AgentParts {
        client,
        key: docling.key.clone(),
        backend,
        allowed: allowed(),
        poll_interval: POLL_INTERVAL,
    };
    Ok(Agent::new(config, parts)?)
}

/// The paths of a converter that a relay may ask for.
pub fn allowed() -> AllowList {
    AllowList::new().exact(Method::POST, "/v1/convert/file").exact(Method::POST, "/v1/convert/source")
}

/// A document converter, as the probe loop asks it (worker protocol §10.3).
struct Converter {
    client: BackendClient,
}

impl Backend for Converter {
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>> {
        Box::pin(async {
            // Its health is open, also where its conversions want a key.
            let question = Question { base: self.client.base(), path: "/health", key: None, about: "health" };
            question.ask(&self.client).await.map(|_| Found::default())
        })
    }
}

//! The agent half: an LLM runtime behind an agent.
//!
//! What is particular to LLMs is here — how a runtime is probed, which of its paths may
//! pass, how its version is found, where one may run on this machine. Everything else is
//! `nfrx-agent`'s.

mod backend;
mod detect;
mod options;
mod version;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::Method;
use nfrx_agent::client::BackendClient;
use nfrx_agent::{Agent, AgentConfig, AgentError, AgentParts, AllowList};

pub use backend::{ApiStyle, LlmBackend};
pub use detect::{Candidate, Detected, detect, local_engines};
pub use options::{LlmConfig, llm_agent_specs};

/// The agent that fronts the runtime of `llm`.
pub fn agent(config: AgentConfig, llm: &LlmConfig) -> Result<Agent, AgentError> {
    let client = BackendClient::new(llm.base.clone(), config.request_timeout)?;
    agent_with(config, llm, client)
}

/// The same with a client of the caller's, as tests have it.
pub fn agent_with(config: AgentConfig, llm: &LlmConfig, client: BackendClient) -> Result<Agent, AgentError> {
    let backend = Arc::new(LlmBackend::new(client.clone(), llm));
    let parts = AgentParts {
        client,
        key: llm.key.clone(),
        backend,
        allowed: allowed(),
        poll_interval: llm.poll_interval,
    };
    Ok(Agent::new(config, parts)?)
}

/// The paths of an OpenAI-compatible runtime that a relay may ask for.
pub fn allowed() -> AllowList {
    AllowList::new()
        .exact(Method::POST, "/chat/completions")
        .exact(Method::POST, "/completions")
        .exact(Method::POST, "/responses")
        .exact(Method::POST, "/embeddings")
        .exact(Method::GET, "/models")
}

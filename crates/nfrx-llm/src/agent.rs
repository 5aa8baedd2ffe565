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

use http::Method;
use nfrx_agent::AllowList;

pub use backend::{ApiStyle, LlmBackend};
pub use detect::{Candidate, Detected, detect, local_engines};
pub use options::{LlmConfig, llm_agent_specs};

/// The paths of an OpenAI-compatible runtime that a relay may ask for.
pub fn allowed() -> AllowList {
    AllowList::new()
        .exact(Method::POST, "/chat/completions")
        .exact(Method::POST, "/completions")
        .exact(Method::POST, "/responses")
        .exact(Method::POST, "/embeddings")
        .exact(Method::GET, "/models")
}

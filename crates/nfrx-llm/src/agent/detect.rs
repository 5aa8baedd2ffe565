//! Finding an LLM runtime on this machine, for a start without any setting.

use std::time::Duration;

use futures_util::future::join_all;
use nfrx_agent::BaseUrl;
use nfrx_agent::client::BackendClient;
use serde_json::Value;
use tracing::debug;

/// A runtime on this machine answers well within that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a runtime may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The runtime that is usually there.
    pub name: &'static str,
    /// Its OpenAI-compatible address.
    pub base: BaseUrl,
}

/// A runtime that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Which one it probably is, and where.
    pub candidate: Candidate,
    /// How many models it has.
    pub models: usize,
}

/// Where runtimes are when nobody moved them, in the order in which they are preferred.
pub fn local_engines() -> Vec<Candidate> {
    [("Ollama", 11434), ("llama.cpp", 8080), ("vLLM", 8000), ("LM Studio", 1234)]
        .into_iter()
        .filter_map(|(name, port)| {
            let base = BaseUrl::parse(&format!("http://127.0.0.1:{port}/v1")).ok()?;
            Some(Candidate { name, base })
        })
        .collect()
}

/// Asks all candidates at once and gives the first in their order that is a runtime;
/// takes a second at most.
pub async fn detect(candidates: Vec<Candidate>) -> Option<Detected> {
    let asked = candidates.into_iter().map(|candidate| async move {
        let models = tokio::time::timeout(ANSWER_TIMEOUT, models(&candidate.base)).await.ok().flatten()?;
        debug!(engine = candidate.name, base = %candidate.base, models, "found a runtime");
        Some(Detected { candidate, models })
    });
    join_all(asked).await.into_iter().flatten().next()
}

/// How many models there are, if it is a runtime that answers.
async fn models(base: &BaseUrl) -> Option<usize> {
    let client = BackendClient::new(base.clone(), None).ok()?;
    let reply = client.get(&base.join("/models"), None).await.ok()?;
    if !reply.status.is_success() || is_relay(&client).await {
        return None;
    }
    let reply: Value = serde_json::from_slice(&reply.body).ok()?;
    let is_list = reply.get("object").and_then(Value::as_str) == Some("list");
    match reply.get("data")? {
        Value::Array(models) => Some(models.len()),
        // A runtime without a model says `null`.
        Value::Null if is_list => Some(0),
        _ => None,
    }
}

/// A relay lists models as well: fronting it would send requests in a circle.
async fn is_relay(client: &BackendClient) -> bool {
    let path = client.base().parent().join("/api/llm/v1/models");
    client.get(&path, None).await.is_ok_and(|reply| reply.status.as_u16() != 404)
}

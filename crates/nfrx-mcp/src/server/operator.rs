//! What an operator may know of a server beyond the state: each of its agents is asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::{ApiError, Body, HandlerResult};
use serde::Serialize;

use super::agent::{Agent, Sort};
use super::failure::Failure;
use super::registry::Registry;
use super::v1;
use crate::about::{ABOUT_BYTES_MAX, About, about_path};

/// How long an agent may take. It asks its server itself, and waits less.
const ABOUT_MAX: Duration = Duration::from_secs(15);

/// What is known of one public id.
#[derive(Serialize)]
struct Described {
    id: String,
    /// One of each agent that serves it now.
    agents: Vec<ByAgent>,
}

#[derive(Serialize)]
struct ByAgent {
    /// The agent's own id.
    agent: String,
    #[serde(flatten)]
    told: Told,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    About {
        about: About,
    },
    /// Why the agent tells nothing.
    Not {
        problem: String,
    },
}

/// Asks all agents of a server at once. 404 when there is none.
pub(super) async fn describe(registry: Arc<Registry>, id: String) -> HandlerResult {
    let agents = registry.agents().into_iter().filter(|agent| agent.server(&id).is_some());
    let agents = join_all(agents.map(|agent| tell(agent, &id))).await;
    if agents.is_empty() {
        return Err(ApiError::NotFound);
    }
    let text = serde_json::to_string(&Described { id, agents }).map_err(|_| ApiError::Internal)?;
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

async fn tell(agent: Arc<Agent>, id: &str) -> ByAgent {
    let asking = tokio::time::timeout(ABOUT_MAX, ask(&agent, id)).await;
    let told = match asking.unwrap_or_else(|_| Err(Failure::Timeout.to_string())) {
        Ok(about) => Told::About { about: about.bounded() },
        Err(problem) => Told::Not { problem },
    };
    ByAgent { agent: agent.worker_id.to_string(), told }
}

async fn ask(agent: &Arc<Agent>, id: &str) -> Result<About, String> {
    if agent.tunnel.carrier() == v1::CARRIER {
        return Err("its agent is an old release, which tells nothing: update it".to_owned());
    }
    let _place = agent.enter(Sort::Call).ok_or_else(|| Failure::Busy.to_string())?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = about_path(id).parse().map_err(|_| Failure::NoPath.to_string())?;
    let answer = agent.tunnel.call(request).await.map_err(|error| Failure::of_call(error).to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("its agent answered with status {}", answer.status().as_u16()));
    }
    let whole = Limited::new(answer.into_body(), ABOUT_BYTES_MAX).collect().await;
    let whole = whole.map_err(|_| "its agent broke off, or told too much".to_owned())?.to_bytes();
    serde_json::from_slice(&whole).map_err(|_| "its agent told something else".to_owned())
}

//! The agent half: what stands between the tunnel and private servers.
//!
//! A request from the tunnel names a server by its public id; the agent judges it by its own
//! list of methods and paths, and passes it on to the server's upstream. What the relay says
//! is believed as little as what a client says.

mod endpoint;
mod guarded;
mod headers;
mod http_upstream;
mod kept;
mod options;
mod service;
pub mod stdio;
mod upstream;

use std::sync::Arc;

use nfrx_agent::client::{BackendClient, ClientError};
use nfrx_agent::{Agent, AgentConfig, ServiceParts};
use nfrx_tunnel::DialError;

pub use endpoint::{Endpoint, EndpointError};
pub use options::{McpConfig, mcp_agent_specs};

use crate::digest::TokenDigest;
use crate::offer::ServerOffer;
use http_upstream::{HttpSettings, HttpUpstream};
use service::{McpService, Served};

/// Why an agent could not be made of its options.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server's address can't be used.
    #[error(transparent)]
    Server(#[from] DialError),
    /// A backend's address can't be used.
    #[error("the address of the MCP server can't be used")]
    Backend(#[from] ClientError),
}

/// The agent that fronts the server of `mcp`.
pub fn agent(config: AgentConfig, mcp: McpConfig) -> Result<Agent, AgentError> {
    let client = BackendClient::new(mcp.endpoint.base().clone(), None)?;
    agent_with(config, mcp, client)
}

/// The same with a client of the caller's, as tests have it.
pub fn agent_with(
    mut config: AgentConfig,
    mcp: McpConfig,
    client: BackendClient,
) -> Result<Agent, AgentError> {
    let settings = HttpSettings {
        head_max: config.request_timeout,
        allow_streaming: mcp.allow_streaming,
        pass_authorization: mcp.pass_authorization,
    };
    let upstream = Arc::new(HttpUpstream::new(client, mcp.endpoint, settings));
    let offer = ServerOffer {
        id: config.worker_id.clone(),
        name: config.worker_name.clone(),
        ready: false,
        replicas: mcp.replicas,
        token: mcp.auth_token.map(|token| TokenDigest::of(token.reveal())),
        pass_authorization: mcp.pass_authorization,
        below: mcp.below,
    };
    if mcp.replicas {
        // The public id is shared; the agents are not the same one.
        config.worker_id = format!("{}~{:08x}", config.worker_id, fastrand::u32(..));
    }
    let max_concurrency = config.max_concurrency;
    let start = move |drain: &nfrx_runtime::Drain, status: &nfrx_agent::StatusBoard| {
        let (service, offers) = McpService::new(drain.watch(), status.clone(), max_concurrency);
        service.set_servers(vec![Served { offer, upstream }]);
        drain.spawn("mcp probe", service.clone().probe());
        ServiceParts { service: Arc::new(service), offers }
    };
    Ok(Agent::of_service(config, Box::new(start))?)
}

//! The agent half: what stands between the tunnel and private servers.
//!
//! A request from the tunnel names a server by its public id; the agent judges it by its own
//! list of methods and paths, and passes it on to the server's upstream. What the relay says
//! is believed as little as what a client says.

mod client_config;
mod doctor;
mod endpoint;
mod headers;
mod http_upstream;
mod joined;
mod kept;
mod maker;
mod oauth;
mod options;
mod policy;
mod portrait;
mod servers;
mod service;
mod sse;
pub mod stdio;
mod talk;
mod transports;
mod upstream;
mod v1;

use std::sync::Arc;

use nfrx_agent::client::{BackendClient, ClientError};
use nfrx_agent::{Agent, AgentConfig, BaseUrl, ServiceParts, StatusBoard};
use nfrx_runtime::Drain;
use nfrx_tunnel::DialError;

pub use client_config::{CLIENTS, ClientFileError, McpClient};
pub use doctor::{Finding, diagnose, public_addresses};
pub use endpoint::{Endpoint, EndpointError};
pub use oauth::OAuthSettings;
pub use options::{McpConfig, mcp_agent_specs};
#[cfg(feature = "fuzzing")]
pub(crate) use servers::count as count_servers;
pub use servers::{ServersError, ServersFile};
pub use transports::{TransportKind, TransportOrder};

use joined::Joiner;
use maker::Maker;
use policy::ToolPolicy;
use servers::{Follower, HttpWay, ServerEntry, Transport};
use service::McpService;

/// Why an agent could not be made of its options.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The relay's address can't be used.
    #[error(transparent)]
    Server(#[from] DialError),
    /// The server can't be served.
    #[error("the MCP server can't be served: {0}")]
    Backend(String),
    /// The file of servers can't be used.
    #[error(transparent)]
    Servers(#[from] ServersError),
}

/// Makes the client for a backend's address; tests bring their own.
pub type Clients = Arc<dyn Fn(&BaseUrl) -> Result<BackendClient, ClientError> + Send + Sync>;

/// The agent that fronts the servers of `mcp`.
pub fn agent(config: AgentConfig, mcp: McpConfig) -> Result<Agent, AgentError> {
    agent_with(config, mcp, clients())
}

/// Clients that speak over the network.
pub fn clients() -> Clients {
    Arc::new(|base| BackendClient::new(base.clone(), None))
}

/// The same with clients of the caller's, as tests have it.
pub fn agent_with(mut config: AgentConfig, mcp: McpConfig, clients: Clients) -> Result<Agent, AgentError> {
    let children = Drain::new();
    let maker = Maker {
        head_max: config.request_timeout,
        allow_streaming: mcp.allow_streaming,
        clients,
        stdio: mcp.stdio.clone(),
        init_max: mcp.transports.init_max,
        children: children.clone(),
    };
    let (servers, follower, replicas) = match mcp.servers_file.clone() {
        None => {
            let served = maker.serve(&only_entry(&config, mcp)).map_err(AgentError::Backend)?;
            let replicas = served.offer.replicas;
            (vec![served], None, replicas)
        }
        Some(file) => {
            let follower = {
                let joiner = file.joined_id().map(|id| Joiner::new(id, &mcp.stdio, &children));
                Follower::new(file, Arc::new(move |entry| maker.serve(entry)), joiner)?
            };
            let replicas = follower.has_replicas();
            (follower.served(), Some(follower), replicas)
        }
    };
    if replicas {
        // The public id is shared; the agents are not the same one.
        config.worker_id = format!("{}~{:08x}", config.worker_id, fastrand::u32(..));
    }
    let max_concurrency = config.max_concurrency;
    let start = move |drain: &Drain, status: &StatusBoard| {
        let (service, offers) = McpService::new(drain.watch(), status.clone(), max_concurrency);
        service.set_servers(servers);
        drain.spawn("mcp children", async move {
            let _children = CutOnDrop(children);
            std::future::pending().await
        });
        drain.spawn("mcp probe", service.clone().probe());
        if let Some(follower) = follower {
            drain.spawn("mcp servers file", follower.run(service.clone()));
        }
        let legacy = Some(v1::link(&service));
        ServiceParts { service: Arc::new(service), offers, legacy }
    };
    Ok(Agent::of_service(config, Box::new(start))?)
}

/// The server that the options name, under the agent's own id.
fn only_entry(config: &AgentConfig, mcp: McpConfig) -> ServerEntry {
    let way = Box::new(HttpWay { endpoint: mcp.endpoint, headers: Vec::new(), oauth: mcp.oauth });
    let command = mcp.command.unwrap_or_default();
    let transports = mcp.transports.kinds.into_iter().map(|kind| match kind {
        TransportKind::Stdio => Transport::Stdio(command.clone()),
        TransportKind::Http => Transport::Http(way.clone()),
        TransportKind::Sse => Transport::Sse(way.clone()),
    });
    ServerEntry {
        name: config.worker_name.clone(),
        id: config.worker_id.clone(),
        transports: transports.collect(),
        policy: ToolPolicy::default(),
        auth_token: mcp.auth_token,
        replicas: mcp.replicas,
        pass_authorization: mcp.pass_authorization,
        below: mcp.below,
    }
}

/// Ends the processes of servers with the agent's own tasks.
struct CutOnDrop(Drain);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

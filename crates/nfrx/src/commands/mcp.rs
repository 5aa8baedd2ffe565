//! `nfrx mcp`: the agent in front of a private MCP server.

use nfrx_agent::Agent;
use nfrx_mcp::agent::{McpConfig, mcp_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    super::agent::catalogue(CommandName::Mcp, mcp_agent_specs())
}

pub(super) fn agent(loaded: &Loaded) -> anyhow::Result<Agent> {
    let options = loaded.group(CommandName::Mcp.text());
    let config = super::agent::config(CommandName::Mcp, &options)?;
    let mcp = McpConfig::from_options(&options)?;
    Ok(nfrx_mcp::agent::agent(config, mcp)?)
}

//! `nfrx mcp`: the agent in front of a private MCP server.

use nfrx_agent::AgentConfig;
use nfrx_mcp::agent::{McpConfig, agent, mcp_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Mcp.text(), mcp_agent_specs());
    catalogue
}

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Mcp.text());
    let config = AgentConfig::from_options(&options)?;
    let mcp = McpConfig::from_options(&options)?;
    super::agent::run(|| Ok(agent(config, mcp)?))
}

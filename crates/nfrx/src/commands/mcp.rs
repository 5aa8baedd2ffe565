//! `nfrx mcp`: the agent in front of a private MCP server.

use nfrx_agent::AgentConfig;
use nfrx_mcp::agent::{McpConfig, agent, mcp_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;

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
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let agent = agent(config, mcp)?;
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            () = cut => {
                tracing::warn!("told again to stop, cutting what is left");
                Ok(())
            }
        }
    })
}

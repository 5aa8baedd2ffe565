//! `nfrx llm`: the agent in front of a language model runtime.

use nfrx_agent::AgentConfig;
use nfrx_llm::agent::{LlmConfig, agent, llm_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Llm.text(), llm_agent_specs());
    catalogue
}

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Llm.text());
    let config = AgentConfig::from_options(&options)?;
    let llm = LlmConfig::from_options(&options)?;
    super::agent::run(|| Ok(agent(config, &llm)?))
}

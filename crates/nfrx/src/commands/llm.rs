//! `nfrx llm`: the agent in front of a language model runtime.

use nfrx_agent::Agent;
use nfrx_llm::agent::{LlmConfig, llm_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    super::agent::catalogue(CommandName::Llm, llm_agent_specs())
}

pub(super) fn agent(loaded: &Loaded) -> anyhow::Result<Agent> {
    let options = loaded.group(CommandName::Llm.text());
    let config = super::agent::config(CommandName::Llm, &options)?;
    let llm = LlmConfig::from_options(&options)?;
    Ok(nfrx_llm::agent::agent(config, &llm)?)
}

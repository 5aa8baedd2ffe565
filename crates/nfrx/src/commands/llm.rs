//! `nfrx llm`: the agent in front of a language model runtime.

use nfrx_agent::AgentConfig;
use nfrx_llm::agent::{LlmConfig, agent, llm_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;

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
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let agent = agent(config, &llm)?;
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            () = cut => {
                tracing::warn!("told again to stop, cutting what is left");
                Ok(())
            }
        }
    })
}

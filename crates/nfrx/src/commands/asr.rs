//! `nfrx asr`: the agent in front of a speech recogniser.

use nfrx_agent::AgentConfig;
use nfrx_asr::agent::{AsrConfig, agent, asr_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Asr.text(), asr_agent_specs());
    catalogue
}

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Asr.text());
    let config = AgentConfig::of_kind(CommandName::Asr.text(), &options)?;
    let asr = AsrConfig::from_options(&options)?;
    super::agent::run(|| Ok(agent(config, &asr)?))
}

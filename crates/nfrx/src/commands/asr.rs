//! `nfrx asr`: the agent in front of a speech recogniser.

use nfrx_agent::Agent;
use nfrx_asr::agent::{AsrConfig, asr_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    super::agent::catalogue(CommandName::Asr, asr_agent_specs())
}

pub(super) fn agent(loaded: &Loaded) -> anyhow::Result<Agent> {
    let options = loaded.group(CommandName::Asr.text());
    let config = super::agent::config(CommandName::Asr, &options)?;
    let asr = AsrConfig::from_options(&options)?;
    Ok(nfrx_asr::agent::agent(config, &asr)?)
}

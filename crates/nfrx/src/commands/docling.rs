//! `nfrx docling`: the agent in front of a document converter.

use nfrx_agent::AgentConfig;
use nfrx_docling::agent::{DoclingConfig, agent, docling_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Docling.text(), docling_agent_specs());
    catalogue
}

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let options = loaded.group(CommandName::Docling.text());
    let config = AgentConfig::of_kind(CommandName::Docling.text(), &options)?;
    let docling = DoclingConfig::from_options(&options)?;
    super::agent::run(|| Ok(agent(config, &docling)?))
}

//! `nfrx docling`: the agent in front of a document converter.

use nfrx_agent::Agent;
use nfrx_docling::agent::{DoclingConfig, docling_agent_specs};
use nfrx_runtime::options::{Catalogue, Loaded};

use super::CommandName;

pub(super) fn catalogue() -> Catalogue {
    super::agent::catalogue(CommandName::Docling, docling_agent_specs())
}

pub(super) fn agent(loaded: &Loaded) -> anyhow::Result<Agent> {
    let options = loaded.group(CommandName::Docling.text());
    let config = super::agent::config(CommandName::Docling, &options)?;
    let docling = DoclingConfig::from_options(&options)?;
    Ok(nfrx_docling::agent::agent(config, &docling)?)
}

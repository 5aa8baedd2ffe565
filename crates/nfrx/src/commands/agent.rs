//! What the commands of all agents share: where their options are found, and that they
//! run until they are told to stop, or can't go on.

use std::path::{Path, PathBuf};

use nfrx_agent::{AGENT_DEAD_KEYS, Agent, AgentConfig};
use nfrx_runtime::options::{CONFIG_FILE, Catalogue};
use nfrx_runtime::signals;
use nfrx_spi::{ArgSpec, PluginOptions};

use super::{CommandName, config_dir};
use crate::state_dir;

/// The options of an agent.
pub(super) fn catalogue(command: CommandName, specs: Vec<ArgSpec>) -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(command.text(), specs).dead_keys(AGENT_DEAD_KEYS);
    catalogue
}

/// What the agents have in common, from their options.
pub(super) fn config(command: CommandName, options: &PluginOptions) -> anyhow::Result<AgentConfig> {
    let mut config = AgentConfig::of_kind(command.text(), options)?;
    config.local.token_files = token_files(command, options);
    Ok(config)
}

/// Where the token of the control routes may be. Beside the file of settings is where the
/// old system had it, but a service may not write there (KD-50): a new one is made where
/// state is kept.
fn token_files(command: CommandName, options: &PluginOptions) -> Vec<PathBuf> {
    let name = format!("{}.token", command.text());
    let settings = match options.text(CONFIG_FILE) {
        "" => config_dir(),
        file => Path::new(file).parent().map(Path::to_owned).unwrap_or_default(),
    };
    let state = state_dir::path().ok();
    Some(settings).into_iter().chain(state).map(|dir| dir.join(&name)).collect()
}

/// Runs the agent that `make` gives, unless it is only to be checked. The first signal
/// drains it, the second cuts it.
pub(super) fn run(check: bool, make: impl FnOnce() -> anyhow::Result<Agent>) -> anyhow::Result<()> {
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let mut agent = make()?;
        if check {
            return Ok(());
        }
        agent.bind().await?;
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            () = cut => {
                tracing::warn!("told again to stop, cutting what is left");
                Ok(())
            }
        }
    })
}

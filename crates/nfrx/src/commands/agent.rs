//! What the commands of all agents share: where their options are found, and that they
//! run until they are told to stop, or can't go on.

use nfrx_agent::{AGENT_DEAD_KEYS, Agent};
use nfrx_runtime::options::Catalogue;
use nfrx_runtime::signals;
use nfrx_spi::ArgSpec;

use super::CommandName;

/// The options of an agent.
pub(super) fn catalogue(command: CommandName, specs: Vec<ArgSpec>) -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(command.text(), specs).dead_keys(AGENT_DEAD_KEYS);
    catalogue
}

/// Runs the agent that `make` gives, unless it is only to be checked. The first signal
/// drains it, the second cuts it.
pub(super) fn run(check: bool, make: impl FnOnce() -> anyhow::Result<Agent>) -> anyhow::Result<()> {
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let agent = make()?;
        if check {
            return Ok(());
        }
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            () = cut => {
                tracing::warn!("told again to stop, cutting what is left");
                Ok(())
            }
        }
    })
}

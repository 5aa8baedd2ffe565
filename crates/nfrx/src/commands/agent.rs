//! How every agent runs: until it is told to stop, or can't go on.

use nfrx_agent::Agent;
use nfrx_runtime::signals;

/// Runs the agent that `make` gives. The first signal drains it, the second cuts it.
pub(super) fn run(make: impl FnOnce() -> anyhow::Result<Agent>) -> anyhow::Result<()> {
    super::runtime(1)?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let agent = make()?;
        tokio::select! {
            result = agent.run(stop) => Ok(result?),
            () = cut => {
                tracing::warn!("told again to stop, cutting what is left");
                Ok(())
            }
        }
    })
}

//! `nfrx server`: the public server.

use anyhow::Context;
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;
use nfrx_server::{DEAD_KEYS, Server, ServerConfig, core_specs};
use nfrx_spi::{ArgSpec, ArgType};

use super::CommandName;
use crate::{plugins, state_dir};

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    let mut specs = core_specs();
    specs.push(
        ArgSpec::new("threads", ArgType::Int, "threads that serve; 1 costs least for each request")
            .from("--threads", "THREADS", "threads")
            .default("1"),
    );
    catalogue.add(CommandName::Server.text(), specs).dead_keys(DEAD_KEYS);
    for factory in plugins::all() {
        let descriptor = factory.descriptor();
        catalogue.add(descriptor.id, descriptor.args);
    }
    catalogue
}

/// Runs the server, unless its settings are only to be checked.
pub(super) fn run(loaded: &Loaded, check: bool) -> anyhow::Result<()> {
    let factories = plugins::all();
    let ids: Vec<&str> = factories.iter().map(|factory| factory.descriptor().id).collect();
    let mut config = ServerConfig::from_options(loaded, CommandName::Server.text(), &ids)?;
    // Without one, what should be remembered over a restart is not.
    config.state_dir = state_dir::path().ok();
    let threads = loaded.group(CommandName::Server.text()).int("threads")?;
    let threads = usize::try_from(threads).ok().filter(|count| (1..=256).contains(count));
    super::runtime(threads.context("`--threads` must be from 1 to 256")?)?.block_on(async {
        if check {
            return Ok(Server::check(&config, &factories)?);
        }
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let server = Server::bind(config, factories).await?; // The port is ours, nobody is served.
        let addr = server.addr().context("the server has a port")?;
        tracing::info!(%addr, "ready");
        server.serve(stop, cut).await;
        Ok(())
    })
}

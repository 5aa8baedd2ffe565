//! `nfrx server`: the public server.

use anyhow::Context;
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::signals;
use nfrx_server::{DEAD_KEYS, Server, ServerConfig, core_specs};

use super::CommandName;
use crate::plugins;

pub(super) fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(CommandName::Server.text(), core_specs()).dead_keys(DEAD_KEYS);
    for factory in plugins::all() {
        let descriptor = factory.descriptor();
        catalogue.add(descriptor.id, descriptor.args);
    }
    catalogue
}

pub(super) fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let factories = plugins::all();
    let ids: Vec<&str> = factories.iter().map(|factory| factory.descriptor().id).collect();
    let config = ServerConfig::from_options(loaded, CommandName::Server.text(), &ids)?;
    super::wide_runtime()?.block_on(async {
        let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
        let server = Server::bind(config, factories).await?; // The port is ours, nobody is served.
        let addr = server.addr().context("the server has a port")?;
        tracing::info!(%addr, "ready");
        server.serve(stop, cut).await;
        Ok(())
    })
}

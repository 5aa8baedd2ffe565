//! The binary: a server that has only the captioner, an agent for it, and a demo of both.

use std::path::Path;

use clap::{ArgMatches, Command};
use nfrx_agent::AgentConfig;
use nfrx_captioner::agent::{CaptionAgent, CaptionConfig, agent_options};
use nfrx_captioner::{CaptionerFactory, demo};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::{logs, signals};
use nfrx_server::{Server, ServerConfig, core_specs};
use nfrx_spi::PluginFactory;

/// The groups of options: the server's own, and an agent's.
const SERVER: &str = "server";
const AGENT: &str = "agent";

/// The plugins of this server. One more line is one more plugin.
fn plugins() -> Vec<Box<dyn PluginFactory>> {
    vec![Box::new(CaptionerFactory)]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match command().get_matches().subcommand() {
        Some(("server", flags)) => server(flags).await,
        Some(("agent", flags)) => agent(flags).await,
        _ => demo::run(&mut std::io::stdout()).await,
    }
}

fn command() -> Command {
    Command::new("captioner")
        .about("A relay for image captioners: a plugin for nfrx from outside.")
        .subcommand_required(true)
        .subcommand(Command::new("server").about("Runs the server").args(server_catalogue().args()))
        .subcommand(Command::new("agent").about("Runs an agent").args(agent_catalogue().args()))
        .subcommand(Command::new("demo").about("Runs a server and two agents, and captions three pictures"))
}

fn server_catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(SERVER, core_specs());
    for descriptor in plugins().iter().map(|plugin| plugin.descriptor()) {
        catalogue.add(descriptor.id, descriptor.args);
    }
    catalogue
}

fn agent_catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.add(AGENT, agent_options());
    catalogue
}

/// Finds the values of all options and starts the log.
fn load(catalogue: &Catalogue, group: &str, flags: &ArgMatches) -> anyhow::Result<Loaded> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = catalogue.load(Path::new("captioner.yaml"), &env, flags)?;
    logs::init(loaded.group(group).text("log_level"))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

async fn server(flags: &ArgMatches) -> anyhow::Result<()> {
    let loaded = load(&server_catalogue(), SERVER, flags)?;
    let plugins = plugins();
    let ids: Vec<_> = plugins.iter().map(|plugin| plugin.descriptor().id).collect();
    let config = ServerConfig::from_options(&loaded, SERVER, &ids)?;
    let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
    let server = Server::bind(config, plugins).await?;
    tracing::info!(addr = ?server.addr(), "ready");
    server.serve(stop, cut).await;
    Ok(())
}

async fn agent(flags: &ArgMatches) -> anyhow::Result<()> {
    let options = load(&agent_catalogue(), AGENT, flags)?.group(AGENT);
    let agent =
        CaptionAgent::new(AgentConfig::from_options(&options)?, CaptionConfig::from_options(&options)?)?;
    let (stop, cut) = (signals::terminate()?, signals::terminate_again()?);
    tokio::select! {
        ended = agent.run(stop) => Ok(ended?),
        () = cut => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }
}

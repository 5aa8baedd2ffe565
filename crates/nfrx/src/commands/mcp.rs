//! `nfrx mcp`: the agent in front of private MCP servers, and what helps to set it up.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use nfrx_agent::{Agent, AgentConfig};
use nfrx_mcp::agent::{CLIENTS, McpClient, McpConfig, clients, diagnose, mcp_agent_specs, public_addresses};
use nfrx_runtime::options::{Catalogue, Loaded};
use nfrx_runtime::private_file;
use nfrx_spi::Secret;

use super::CommandName;

const ACTION: &str = "action";
const DOCTOR: &str = "doctor";
const CLIENT_CONFIG: &str = "client-config";
const CLIENT: &str = "client";
const WRITE: &str = "write";

pub(super) fn catalogue() -> Catalogue {
    super::agent::catalogue(CommandName::Mcp, mcp_agent_specs())
}

pub(super) fn agent(loaded: &Loaded) -> anyhow::Result<Agent> {
    let (config, mcp) = configs(loaded)?;
    Ok(nfrx_mcp::agent::agent(config, mcp)?)
}

fn configs(loaded: &Loaded) -> anyhow::Result<(AgentConfig, McpConfig)> {
    let options = loaded.group(CommandName::Mcp.text());
    let config = super::agent::config(CommandName::Mcp, &options)?;
    Ok((config, McpConfig::from_options(&options)?))
}

/// What can be asked for besides running the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Doctor,
    ClientConfig,
}

pub(super) fn with_actions(command: Command) -> Command {
    let action = Arg::new(ACTION)
        .value_name("ACTION")
        .value_parser([DOCTOR, CLIENT_CONFIG])
        .help("doctor: says what is wrong between backend, agent, server and public address; client-config: tells MCP clients of the servers. Both use the API_KEY of the environment");
    let client = Arg::new(CLIENT)
        .long(CLIENT)
        .value_name("NAME")
        .value_parser(PossibleValuesParser::new(CLIENTS.map(|client| client.name)))
        .default_value(CLIENTS[0].name)
        .help("client-config: for which client");
    let write = Arg::new(WRITE)
        .long(WRITE)
        .action(ArgAction::SetTrue)
        .help("client-config: writes the client's own file in place of printing what belongs in it");
    command.arg(action).arg(client).arg(write)
}

pub(super) fn action(flags: &ArgMatches) -> Option<Action> {
    match flags.get_one::<String>(ACTION)?.as_str() {
        DOCTOR => Some(Action::Doctor),
        _ => Some(Action::ClientConfig),
    }
}

pub(super) fn act(action: Action, loaded: &Loaded, flags: &ArgMatches) -> anyhow::Result<()> {
    let (config, mcp) = configs(loaded)?;
    let api_key = std::env::var("API_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new);
    match action {
        Action::Doctor => doctor(&config, &mcp, api_key.as_ref()),
        Action::ClientConfig => client_config(&config, &mcp, api_key.as_ref(), flags),
    }
}

fn doctor(config: &AgentConfig, mcp: &McpConfig, api_key: Option<&Secret>) -> anyhow::Result<()> {
    let findings = super::runtime(1)?.block_on(diagnose(config, mcp, api_key, clients()))?;
    let mut out = std::io::stdout();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    match findings.iter().filter(|finding| finding.outcome.is_err()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} are not as they should be", findings.len()),
    }
}

fn client_config(
    config: &AgentConfig,
    mcp: &McpConfig,
    api_key: Option<&Secret>,
    flags: &ArgMatches,
) -> anyhow::Result<()> {
    let servers = public_addresses(config, mcp)?;
    let name = flags.get_one::<String>(CLIENT).map(String::as_str).unwrap_or_default();
    let client = CLIENTS.into_iter().find(|client| client.name == name).context("an unknown client")?;
    if !flags.get_flag(WRITE) {
        let key = api_key.map_or("YOUR_API_KEY", Secret::reveal);
        let text = client.with_servers("", &servers, key)?;
        eprintln!("This belongs into {}:", path(client)?.display());
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    let Some(key) = api_key else { bail!("set API_KEY to the key that the client is to send") };
    let path = path(client)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let changed = client
        .with_servers(&text, &servers, key.reveal())
        .with_context(|| format!("{} was not changed", path.display()))?;
    private_file::write(&path, changed.as_bytes())
        .with_context(|| format!("can't write {}", path.display()))?;
    eprintln!("{} tells of {} server(s), and holds your key: don't share it", path.display(), servers.len());
    Ok(())
}

fn path(client: McpClient) -> anyhow::Result<PathBuf> {
    if !client.in_home {
        return Ok(client.file.into());
    }
    let home = std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    Ok(Path::new(&home.context("the environment names no home folder")?).join(client.file))
}

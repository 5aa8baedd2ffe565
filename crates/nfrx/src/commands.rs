//! What each command declares and does.

mod agent;
mod asr;
mod docling;
mod llm;
mod mcp;
mod options;
mod server;
mod sim;
mod up;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, Command};
use nfrx_runtime::options::{Catalogue, Loaded};
use tokio::runtime::{Builder, Runtime};

use crate::cli::Invocation;

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandName {
    Up,
    Server,
    Llm,
    Asr,
    Docling,
    Mcp,
    Sim,
    Options,
}

impl CommandName {
    pub(crate) const ALL: [Self; 8] =
        [Self::Up, Self::Server, Self::Llm, Self::Asr, Self::Docling, Self::Mcp, Self::Sim, Self::Options];

    /// The word on the command line.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Server => "server",
            Self::Llm => "llm",
            Self::Asr => "asr",
            Self::Docling => "docling",
            Self::Mcp => "mcp",
            Self::Sim => "sim",
            Self::Options => "options",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.text() == text)
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Up => "Runs server, agent and, unless an engine is found, a simulated backend",
            Self::Server => "Runs the public server",
            Self::Llm => "Runs the agent in front of a language model runtime",
            Self::Asr => "Runs the agent in front of a speech recogniser",
            Self::Docling => "Runs the agent in front of a document converter",
            Self::Mcp => "Runs the agent in front of a private MCP server",
            Self::Sim => "Runs the simulated OpenAI-compatible backend",
            Self::Options => "Lists the options of a command",
        }
    }

    /// The options of the command.
    pub(crate) fn catalogue(self) -> Catalogue {
        match self {
            Self::Up => up::catalogue(),
            Self::Server => server::catalogue(),
            Self::Llm => llm::catalogue(),
            Self::Asr => asr::catalogue(),
            Self::Docling => docling::catalogue(),
            Self::Mcp => mcp::catalogue(),
            Self::Sim => sim::catalogue(),
            Self::Options => Catalogue::new(),
        }
    }

    /// Adds what is no flag.
    pub(crate) fn with_positionals(self, command: Command) -> Command {
        match self {
            Self::Options => command.arg(
                Arg::new(options::OF).value_name("COMMAND").default_value(Self::Server.text()).value_parser(
                    Self::ALL
                        .map(Self::text)
                        .into_iter()
                        .filter(|text| *text != Self::Options.text())
                        .collect::<Vec<_>>(),
                ),
            ),
            _ => command,
        }
    }
}

/// Runs what was asked for, to its end.
pub(crate) fn run(invocation: Invocation) -> anyhow::Result<()> {
    let load = |file: &str| load(&invocation, file);
    match invocation.command {
        CommandName::Up => up::run(&load("up.yaml")?),
        CommandName::Server => server::run(&load("server.yaml")?),
        CommandName::Llm => llm::run(&load("worker.yaml")?),
        CommandName::Asr => asr::run(&load("asr.yaml")?),
        CommandName::Docling => docling::run(&load("docling.yaml")?),
        CommandName::Mcp => mcp::run(&load("mcp.yaml")?),
        CommandName::Sim => sim::run(&load("sim.yaml")?),
        CommandName::Options => options::run(&invocation.flags),
    }
}

/// Finds the values of all options and starts the log.
fn load(invocation: &Invocation, file: &str) -> anyhow::Result<Loaded> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = invocation.catalogue.load(&config_dir().join(file), &env, &invocation.flags)?;
    nfrx_runtime::logs::init(loaded.group(invocation.command.text()).text("log_level"))
        .context("the log can't be started")?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// The default folder of YAML files (configuration contract §5).
fn config_dir() -> PathBuf {
    let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if cfg!(windows) {
        from_env("ProgramData").unwrap_or_else(|| "C:/ProgramData".into()).join("nfrx")
    } else if cfg!(target_os = "macos") {
        from_env("HOME").unwrap_or_default().join("Library/Application Support/nfrx")
    } else {
        Path::new("/etc/nfrx").to_owned()
    }
}

/// A runtime on so many threads. On one, nothing hops between threads, which is what
/// costs most; an agent's work is mostly waiting for its backend.
fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("the runtime can't be started")
}

//! What each command declares and does.

mod agent;
mod asr;
mod docling;
mod help_plugins;
mod jobs;
mod keys;
mod llm;
mod mcp;
mod options;
mod server;
mod sim;
mod top;
mod up;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgAction, Command};
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
    Jobs,
    Keys,
    Options,
    Status,
    Top,
}

impl CommandName {
    pub(crate) const ALL: [Self; 12] = [
        Self::Up,
        Self::Server,
        Self::Llm,
        Self::Asr,
        Self::Docling,
        Self::Mcp,
        Self::Sim,
        Self::Status,
        Self::Top,
        Self::Jobs,
        Self::Keys,
        Self::Options,
    ];

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
            Self::Jobs => "jobs",
            Self::Status => "status",
            Self::Top => "top",
            Self::Keys => "keys",
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
            Self::Status => "Shows the workers of a server, once",
            Self::Top => "Shows the workers of a server, live",
            Self::Jobs => "Makes jobs and follows them, or does them with any program",
            Self::Keys => "Adds, lists and revokes the named keys of a server",
            Self::Options => "Lists the options of a command",
        }
    }

    /// Whether the old system had it as a program of its own, `nfrx-` and its name.
    pub(crate) fn is_agent(self) -> bool {
        matches!(self, Self::Llm | Self::Asr | Self::Docling | Self::Mcp)
    }

    /// Whether it reads settings from file and environment.
    pub(crate) fn has_settings(self) -> bool {
        !matches!(self, Self::Jobs | Self::Keys | Self::Options)
    }

    /// The file of settings in the default folder (configuration contract §5).
    fn file(self) -> String {
        match self {
            Self::Llm => "worker.yaml".to_owned(),
            other => format!("{}.yaml", other.text()),
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
            Self::Status | Self::Top => top::catalogue(self),
            Self::Jobs | Self::Keys | Self::Options => Catalogue::new(),
        }
    }

    /// Adds what is no option.
    pub(crate) fn with_more(self, command: Command) -> Command {
        match self {
            Self::Server => command.arg(
                Arg::new(help_plugins::FLAG)
                    .long(help_plugins::FLAG)
                    .action(ArgAction::SetTrue)
                    .help("Tells the plugins and their options"),
            ),
            Self::Mcp => mcp::with_actions(command),
            Self::Jobs => jobs::with_subcommands(command),
            Self::Keys => keys::with_subcommands(command),
            Self::Options => options::with_arguments(command),
            _ => command,
        }
    }
}

/// Runs what was asked for, to its end.
pub(crate) fn run(invocation: Invocation) -> anyhow::Result<()> {
    let Invocation { command, check, .. } = invocation;
    match command {
        CommandName::Jobs => return jobs::run(&invocation.flags),
        CommandName::Keys => return keys::run(&invocation.flags),
        CommandName::Options => return options::run(&invocation.flags),
        CommandName::Server if invocation.flags.get_flag(help_plugins::FLAG) => return help_plugins::run(),
        _ => {}
    }
    let loaded = load(&invocation)?;
    match command {
        CommandName::Up => up::run(&loaded, check),
        CommandName::Server => server::run(&loaded, check),
        CommandName::Llm => agent::run(check, || llm::agent(&loaded)),
        CommandName::Asr => agent::run(check, || asr::agent(&loaded)),
        CommandName::Docling => agent::run(check, || docling::agent(&loaded)),
        CommandName::Mcp => match mcp::action(&invocation.flags) {
            None => agent::run(check, || mcp::agent(&loaded)),
            Some(action) => return mcp::act(action, &loaded, &invocation.flags),
        },
        CommandName::Sim => sim::run(&loaded, check),
        CommandName::Status | CommandName::Top => top::run(command, &loaded, check),
        CommandName::Jobs | CommandName::Keys | CommandName::Options => Ok(()),
    }?;
    if check {
        writeln!(std::io::stdout(), "the settings of `nfrx {}` are valid", command.text())?;
    }
    Ok(())
}

/// Finds the values of all options and starts the log.
fn load(invocation: &Invocation) -> anyhow::Result<Loaded> {
    let env = |name: &str| std::env::var(name).ok();
    let file = config_dir().join(invocation.command.file());
    let loaded = invocation.catalogue.load(&file, &env, &invocation.flags)?;
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

#[cfg(test)]
mod old_names;

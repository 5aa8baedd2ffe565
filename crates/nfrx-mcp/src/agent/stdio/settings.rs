//! The options of servers over stdio.

use std::collections::BTreeMap;
use std::time::Duration;

use nfrx_agent::option_error;
use nfrx_spi::{ArgSpec, ArgType, OptionError, PluginOptions, Secret};

use super::launch::ServerCommand;
use super::sessions::SessionLimits;
use super::supervisor::Supervisor;

/// A process that takes longer to answer `initialize` is no server.
const START_MAX: Duration = Duration::from_secs(300);

/// How servers over stdio are run, whichever they are.
#[derive(Debug, Clone)]
pub struct StdioSettings {
    /// Legacy sessions of one server at once, each with a process of its own; a client beyond
    /// them gets 503.
    pub sessions_max: usize,
    /// A legacy session that nobody uses for so long ends. One whose client reads a stream
    /// is in use.
    pub idle_max: Duration,
    /// Which program watches over the processes.
    pub supervisor: Supervisor,
}

/// The options of servers over stdio.
pub fn stdio_specs() -> Vec<ArgSpec> {
    use ArgType::{Duration, Int, String};
    vec![
        ArgSpec::new(
            "mcp_stdio_command",
            String,
            "program that speaks MCP over stdio, with its arguments: started in place of PROVIDER_URL, never by a shell",
        )
        .from("--mcp-stdio-command", "MCP_STDIO_COMMAND", "mcp_stdio_command")
        .aliases(&["MCP_COMMAND"])
        .example("npx -y @modelcontextprotocol/server-everything"),
        ArgSpec::new("mcp_stdio_args", String, "more arguments; words in quotes stay together")
            .from("--mcp-stdio-args", "MCP_STDIO_ARGS", "mcp_stdio_args"),
        ArgSpec::new(
            "mcp_stdio_env",
            String,
            "variables of the program: NAME=value, or NAME for the agent's own value; it gets none of the agent's but PATH, HOME and the like",
        )
        .from("--mcp-stdio-env", "MCP_STDIO_ENV", "mcp_stdio_env")
        .secret(),
        ArgSpec::new("mcp_stdio_cwd", String, "folder in which the program runs")
            .from("--mcp-stdio-cwd", "MCP_STDIO_CWD", "mcp_stdio_cwd")
            .aliases(&["MCP_STDIO_WORKDIR", "--mcp-stdio-workdir", "stdio.workDir"]),
        ArgSpec::new(
            "mcp_stdio_sessions_max",
            Int,
            "sessions of one server over stdio at once, each a process of its own, 1 to 1000",
        )
        .from("--mcp-stdio-sessions-max", "MCP_STDIO_SESSIONS_MAX", "mcp_stdio_sessions_max")
        .default("32"),
        ArgSpec::new("mcp_stdio_idle", Duration, "after so long a session that nobody uses ends")
            .from("--mcp-stdio-idle", "MCP_STDIO_IDLE", "mcp_stdio_idle")
            .default("30m"),
    ]
}

impl StdioSettings {
    /// Reads the options that hold for all servers.
    pub fn from_options(options: &PluginOptions) -> Result<Self, OptionError> {
        let refuse = |id, expected| option_error(options, id, expected);
        let sessions_max = usize::try_from(options.int("mcp_stdio_sessions_max")?)
            .ok()
            .filter(|max| (1..=1000).contains(max))
            .ok_or_else(|| refuse("mcp_stdio_sessions_max", "1 to 1000"))?;
        let idle_max = options.duration("mcp_stdio_idle")?;
        if idle_max < Duration::from_secs(1) {
            return Err(refuse("mcp_stdio_idle", "at least 1s"));
        }
        Ok(Self { sessions_max, idle_max, supervisor: Supervisor::own() })
    }

    pub(in crate::agent) fn limits(&self) -> SessionLimits {
        SessionLimits { sessions_max: self.sessions_max, idle_max: self.idle_max, start_max: START_MAX }
    }
}

impl ServerCommand {
    /// Reads the command of the only server, if there is one.
    pub fn from_options(options: &PluginOptions) -> Result<Option<Self>, OptionError> {
        let quoted = "words, with every quote closed";
        let read = |id| words(options.text(id)).ok_or_else(|| option_error(options, id, quoted));
        let mut words = read("mcp_stdio_command")?;
        if words.is_empty() {
            return Ok(None);
        }
        if cfg!(not(unix)) {
            return Err(option_error(options, "mcp_stdio_command", "unset: it needs a Unix system"));
        }
        let command = words.remove(0);
        words.extend(read("mcp_stdio_args")?);
        let mut env = BTreeMap::new();
        for word in read("mcp_stdio_env")? {
            match word.split_once('=') {
                Some(("", _)) => {
                    return Err(option_error(
                        options,
                        "mcp_stdio_env",
                        "NAME=value or NAME, apart by spaces",
                    ));
                }
                Some((name, value)) => drop(env.insert(name.to_owned(), Secret::new(value))),
                // One that the agent has not got is not there for the program either.
                None => env.extend(std::env::var(&word).ok().map(|value| (word, Secret::new(value)))),
            }
        }
        let cwd = Some(options.text("mcp_stdio_cwd").trim()).filter(|cwd| !cwd.is_empty());
        Ok(Some(Self { command, args: words, env, cwd: cwd.map(Into::into) }))
    }
}

/// The words of a text: apart by white space, unless it stands in quotes. Nothing is expanded
/// and a backslash is one. `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_with(String::new);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[(&str, &str)]) -> PluginOptions {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PluginOptions::new(stdio_specs(), values.collect())
    }

    #[test]
    fn a_command_is_read_as_words_and_its_environment_is_not_shown() {
        let command = ServerCommand::from_options(&options(&[
            ("mcp_stdio_command", "npx -y 'a server'  \"\" x\\y"),
            ("mcp_stdio_args", "--dir=\"/my files\""),
            ("mcp_stdio_env", "TOKEN=hunter2 EMPTY= NFRX_SURELY_NOT_SET"),
        ]));
        let command = command.expect("it is good").expect("there is one");
        assert_eq!(
            (command.command.as_str(), command.args.join("|")),
            ("npx", "-y|a server||x\\y|--dir=/my files".into())
        );
        let names: Vec<_> = command.env.keys().map(String::as_str).collect();
        assert_eq!((names, command.env["TOKEN"].reveal()), (vec!["EMPTY", "TOKEN"], "hunter2"));
        assert!(!format!("{command:?}").contains("hunter2"));
        assert!(ServerCommand::from_options(&options(&[])).expect("it is good").is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_would_be_right() {
        let command =
            |values| ServerCommand::from_options(&options(values)).expect_err("refused").to_string();
        assert!(command(&[("mcp_stdio_command", "npx 'open")]).contains("every quote closed"));
        let secret = command(&[("mcp_stdio_command", "x"), ("mcp_stdio_env", "=hunter2")]);
        assert!(secret.contains("NAME=value") && !secret.contains("hunter2"), "{secret}");
        let settings =
            |values| StdioSettings::from_options(&options(values)).expect_err("refused").to_string();
        assert!(settings(&[("mcp_stdio_sessions_max", "0")]).contains("1 to 1000"));
        assert!(settings(&[("mcp_stdio_idle", "0")]).contains("at least 1s"));
        let defaults = StdioSettings::from_options(&options(&[])).expect("defaults are valid");
        assert_eq!((defaults.sessions_max, defaults.idle_max), (32, Duration::from_secs(1800)));
    }
}

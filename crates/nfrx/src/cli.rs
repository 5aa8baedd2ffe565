//! The command line: one subcommand per kind of process, each with the flags of its
//! options, and the names under which the old system had them as programs.

use std::path::Path;

use clap::{ArgMatches, Command};
use nfrx_runtime::build_info;
use nfrx_runtime::options::Catalogue;

use crate::commands::CommandName;

/// The word before a command that only looks at its settings.
const CHECK: &str = "check-config";

/// What was asked for.
pub(crate) struct Invocation {
    pub(crate) command: CommandName,
    /// Whether the settings are only to be checked.
    pub(crate) check: bool,
    pub(crate) catalogue: Catalogue,
    pub(crate) flags: ArgMatches,
}

/// Reads the command line. Without a subcommand it is the server's (decision 21); a
/// program called `nfrx-llm` is `nfrx llm`, and so are the other agents.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Invocation, clap::Error> {
    let mut args: Vec<String> = args.into_iter().map(go_spelling).collect();
    let check = args.get(1).is_some_and(|word| word == CHECK);
    if check {
        args.remove(1);
    }
    let program = args.first().and_then(|path| of_program(path));
    let command = program.unwrap_or_else(|| by_word(&mut args));
    let catalogue = command.catalogue();
    let args = catalogue.normalise(args);
    let flags = match program {
        Some(command) => described(command, format!("nfrx-{}", command.text())).try_get_matches_from(args)?,
        None => {
            let mut matches = root().try_get_matches_from(args)?;
            matches.remove_subcommand().map(|(_, flags)| flags).unwrap_or_default()
        }
    };
    if check && !command.has_settings() {
        let problem = format!("`{}` has no settings to check", command.text());
        return Err(root().error(clap::error::ErrorKind::InvalidSubcommand, problem));
    }
    Ok(Invocation { command, check, catalogue, flags })
}

/// The agent that a program of this name is: `nfrx-llm`, also `nfrx-llm.exe` and
/// `nfrx-llm-v1-amd64`.
fn of_program(path: &str) -> Option<CommandName> {
    let name = Path::new(path).file_name()?.to_str()?.strip_prefix("nfrx-")?;
    let word = name.split(['-', '.', '_']).next()?;
    CommandName::from_text(word).filter(|command| command.is_agent())
}

/// The command that the first word names. The server's name is put in where there is
/// none.
fn by_word(args: &mut Vec<String>) -> CommandName {
    let first = args.get(1).map(String::as_str);
    let about_nfrx = matches!(first, Some("help" | "-h" | "--help" | "-V" | "--version"));
    let named = first.and_then(CommandName::from_text);
    if named.is_none() && !about_nfrx && first.is_none_or(|arg| arg.starts_with('-')) {
        args.insert(1.min(args.len()), CommandName::Server.text().to_owned());
    }
    named.unwrap_or(CommandName::Server)
}

/// What is no option is also taken with one dash (configuration contract §1.1).
fn go_spelling(arg: String) -> String {
    match arg.as_str() {
        "-help" | "-version" | "-help-plugins" => format!("-{arg}"),
        _ => arg,
    }
}

fn root() -> Command {
    let mut root = Command::new("nfrx")
        .about("A public relay for private AI. Without a command: the server.")
        .version(version())
        .override_usage("nfrx [check-config] [COMMAND] [OPTIONS]")
        .after_help("`nfrx check-config [COMMAND] [OPTIONS]` checks settings and starts nothing.")
        .subcommand_required(true);
    for name in CommandName::ALL {
        root = root.subcommand(described(name, name.text().to_owned()));
    }
    root
}

fn described(command: CommandName, name: String) -> Command {
    let described =
        Command::new(name).about(command.about()).version(version()).args(command.catalogue().args());
    command.with_more(described)
}

/// As the configuration contract §1.2 has it, without the program's name.
fn version() -> String {
    let build = build_info();
    format!("version={} sha={} date={}", build.version, build.sha, build.date)
}

/// The flags of the server, for its own help.
pub(crate) fn server_usage() -> String {
    described(CommandName::Server, "nfrx".to_owned()).render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    /// `expected` is the command's name, after `check` when it is only to be checked.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        match run(line) {
            Ok(Invocation { command, check, .. }) => {
                let found = format!("{}{}", if check { "check " } else { "" }, command.text());
                assert_eq!(found, expected, "line was `{line}`");
            }
            Err(error) => panic!("`{line}` is refused: {error}"),
        }
    }

    #[test]
    fn without_a_command_it_is_the_server() {
        check("nfrx", "server");
        check("nfrx --port 9000", "server");
        check("nfrx -port=9000", "server");
        check("nfrx llm --server-url ws://x/api/llm/connect", "llm");
        check("nfrx asr --reconnect --asr-base-url http://h/v1", "asr");
        check("nfrx docling --doc-api-key=k --max-concurrency 4", "docling");
        check("nfrx up", "up");
        check("nfrx options llm", "options");
        check("nfrx -help-plugins", "server");
    }

    #[test]
    fn the_old_programs_are_the_agents() {
        check("/usr/bin/nfrx-llm -max-concurrency=3 -r", "llm");
        check("nfrx-asr", "asr");
        check("nfrx-docling.exe --doc-base-url http://h", "docling");
        check("./nfrx-mcp-v1.0.0-linux-amd64 --provider-url=http://h/", "mcp");
        // Only agents are: the rest of a name means nothing.
        check("nfrx-server --port 1", "server");
        check("nfrx-v1 llm", "llm");
    }

    #[test]
    fn a_version_is_told_under_the_programs_own_name() {
        for (line, name) in [
            ("nfrx --version", "nfrx"),
            ("nfrx-llm --version", "nfrx-llm"),
            ("nfrx-mcp -version", "nfrx-mcp"),
            ("nfrx asr --version", "nfrx-asr"),
        ] {
            let text = run(line).err().map(|told| told.to_string()).unwrap_or_default();
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(words.first(), Some(&name), "{line}");
            assert!(words[1].starts_with("version=") && words[2].starts_with("sha="), "{text}");
        }
    }

    #[test]
    fn settings_are_checked_for_server_and_agents() {
        check("nfrx check-config", "check server");
        check("nfrx check-config --port 1", "check server");
        check("nfrx check-config mcp --config /x.yaml", "check mcp");
        check("nfrx-llm check-config --reconnect", "check llm");
        assert!(run("nfrx check-config options").is_err());
    }

    #[test]
    fn an_unknown_flag_or_command_is_refused() {
        for line in ["nfrx --prot 1", "nfrx serve", "nfrx llm --queue 1", "nfrx-llm --port 1", "nfrx-asr llm"]
        {
            let error = run(line).err();
            assert!(error.is_some_and(|error| error.use_stderr()), "`{line}` is taken");
        }
    }
}

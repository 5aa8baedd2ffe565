//! The command line: one subcommand per kind of process, each with the flags of its
//! options.

use clap::{ArgMatches, Command};
use nfrx_runtime::build_info;
use nfrx_runtime::options::Catalogue;

use crate::commands::CommandName;

/// What was asked for.
pub(crate) struct Invocation {
    pub(crate) command: CommandName,
    pub(crate) catalogue: Catalogue,
    pub(crate) flags: ArgMatches,
}

/// Reads the command line. Without a subcommand it is the server's (decision 21).
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Invocation, clap::Error> {
    let mut args: Vec<String> = args.into_iter().collect();
    let first = args.get(1).map(String::as_str);
    let about_nfrx = matches!(first, Some("help" | "-h" | "--help" | "-V" | "--version"));
    let named = first.and_then(CommandName::from_text);
    if named.is_none() && !about_nfrx && first.is_none_or(|arg| arg.starts_with('-')) {
        args.insert(1.min(args.len()), CommandName::Server.text().to_owned());
    }
    let command = named.unwrap_or(CommandName::Server);
    let catalogue = command.catalogue();
    let args = catalogue.normalise(args);
    let mut matches = root().try_get_matches_from(args)?;
    let flags = matches.remove_subcommand().map(|(_, flags)| flags).unwrap_or_default();
    Ok(Invocation { command, catalogue, flags })
}

fn root() -> Command {
    let mut root = Command::new("nfrx")
        .about("A public relay for private AI. Without a command: the server.")
        .version(version())
        .override_usage("nfrx [COMMAND] [OPTIONS]")
        .subcommand_required(true);
    for name in CommandName::ALL {
        let sub =
            Command::new(name.text()).about(name.about()).version(version()).args(name.catalogue().args());
        root = root.subcommand(name.with_positionals(sub));
    }
    root
}

/// As the configuration contract §1.2 has it, without the program's name.
fn version() -> String {
    let build = build_info();
    format!("version={} sha={} date={}", build.version, build.sha, build.date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, command: CommandName) {
        let args = line.split_whitespace().map(str::to_owned);
        match parse(args) {
            Ok(invocation) => assert_eq!(invocation.command, command, "line was `{line}`"),
            Err(error) => panic!("`{line}` is refused: {error}"),
        }
    }

    #[test]
    fn without_a_command_it_is_the_server() {
        check("nfrx", CommandName::Server);
        check("nfrx --port 9000", CommandName::Server);
        check("nfrx -port=9000", CommandName::Server);
        check("nfrx llm --server-url ws://x/api/llm/connect", CommandName::Llm);
        check("nfrx asr --reconnect --asr-base-url http://h/v1", CommandName::Asr);
        check("nfrx docling --doc-api-key=k --max-concurrency 4", CommandName::Docling);
        check("nfrx up", CommandName::Up);
        check("nfrx options llm", CommandName::Options);
    }

    #[test]
    fn an_unknown_flag_or_command_is_refused() {
        for line in ["nfrx --prot 1", "nfrx serve", "nfrx llm --queue 1"] {
            let error = parse(line.split_whitespace().map(str::to_owned)).err();
            assert!(error.is_some_and(|error| error.use_stderr()), "`{line}` is taken");
        }
    }
}

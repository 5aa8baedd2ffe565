//! `nfrx options`: every option of a command as a table, or the page of all commands.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};
use nfrx_runtime::options::Catalogue;
use nfrx_spi::ArgSpec;

use super::CommandName;
use crate::plugins;

/// The positional argument: whose options.
const OF: &str = "command";
/// The flag for the page of all commands.
const MARKDOWN: &str = "markdown";

pub(super) fn with_arguments(command: Command) -> Command {
    let names = CommandName::ALL.into_iter().filter(|name| name.has_settings()).map(CommandName::text);
    let of = Arg::new(OF)
        .value_name("COMMAND")
        .default_value(CommandName::Server.text())
        .value_parser(names.collect::<Vec<_>>());
    let markdown = Arg::new(MARKDOWN)
        .long(MARKDOWN)
        .action(ArgAction::SetTrue)
        .help("Prints the page docs/options.md: the options of all commands");
    command.arg(of).arg(markdown)
}

pub(super) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let name = flags.get_one::<String>(OF).and_then(|text| CommandName::from_text(text));
    let text = if flags.get_flag(MARKDOWN) {
        page()
    } else {
        table(name.unwrap_or(CommandName::Server).catalogue().rows().map(|(_, spec)| spec))
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// What docs/options.md says before its tables.
const OPENING: &str = "\
# Options

<!-- Made by `cargo xtask options` from the declarations in the code. -->

Each option can be given as a flag, as an environment variable or in a YAML file. A flag counts more than a
variable, a variable more than the file, the file more than the default.

The file is the one that `--config` or `CONFIG_FILE` names, else the command's own in `/etc/nfrx`
(on macOS `~/Library/Application Support/nfrx`, on Windows `%ProgramData%\\nfrx`). That it isn't there is fine.
A dot in a YAML name goes one level down. An unknown key in the file stops the start, and so does a value that its
option does not take; an unknown variable never does, and a variable that is empty is not set.

Durations are written like `300ms`, `90s`, `1m30s`; a bare number counts seconds. Lists are separated by commas;
in the file they may be YAML lists. Flags may be written with one dash or two.

`nfrx check-config [COMMAND]` checks the settings of a command without starting it, and `nfrx options COMMAND`
prints its table.
";

fn page() -> String {
    let mut text = OPENING.to_owned();
    for name in CommandName::ALL.into_iter().filter(|name| name.has_settings()) {
        let catalogue = name.catalogue();
        let title = name.about();
        // Writing into a text can't fail.
        let _ = write!(text, "\n## nfrx {}\n\n{title}. File: `{}`.\n\n", name.text(), name.file());
        text.push_str(&table(of_group(&catalogue, name.text())));
        for descriptor in plugins::all().iter().map(|factory| factory.descriptor()) {
            let mut rows = of_group(&catalogue, descriptor.id).peekable();
            if descriptor.id == name.text() || rows.peek().is_none() {
                continue;
            }
            let _ = write!(text, "\n### Plugin `{}`\n\n{}\n\n", descriptor.id, descriptor.summary);
            text.push_str(&table(rows));
        }
    }
    text
}

fn of_group<'a>(catalogue: &'a Catalogue, group: &'a str) -> impl Iterator<Item = &'a ArgSpec> {
    catalogue.rows().filter(move |(of, _)| *of == group).map(|(_, spec)| spec)
}

/// A Markdown table, which also reads well on a terminal.
fn table<'a>(rows: impl Iterator<Item = &'a ArgSpec>) -> String {
    let mut text = String::from(
        "| flag | environment | YAML | also read | default | meaning |\n|---|---|---|---|---|---|\n",
    );
    for spec in rows {
        let code = |text: &str| if text.is_empty() { "–".to_owned() } else { format!("`{text}`") };
        let also: Vec<_> = spec.aliases.iter().map(|alias| code(alias)).collect();
        let meaning = match spec.example {
            "" => spec.description.to_owned(),
            example => format!("{}; such as `{example}`", spec.description),
        };
        let also = if also.is_empty() { "–".to_owned() } else { also.join(", ") };
        let row = [code(spec.flag), code(spec.env), code(spec.yaml), also, code(spec.default), meaning];
        let _ = writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_lists_its_options_with_a_meaning() {
        for name in CommandName::ALL.into_iter().filter(|name| name.has_settings()) {
            let table = table(name.catalogue().rows().map(|(_, spec)| spec));
            assert!(table.lines().count() > 4, "{name:?} has options");
            assert!(!table.contains("|  |\n"), "an option of {name:?} says nothing:\n{table}");
        }
    }

    #[test]
    fn the_page_in_docs_is_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/options.md");
        let written = std::fs::read_to_string(file).expect("docs/options.md is there");
        assert!(written == page(), "docs/options.md is out of date: run `cargo xtask options`");
    }
}

//! `nfrx options`: every option of a command, as a table.

use std::io::Write;

use clap::ArgMatches;
use nfrx_runtime::options::Catalogue;

use super::CommandName;

/// The positional argument: whose options.
pub(super) const OF: &str = "command";

pub(super) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let name = flags.get_one::<String>(OF).and_then(|text| CommandName::from_text(text));
    let table = table(&name.unwrap_or(CommandName::Server).catalogue());
    Ok(std::io::stdout().write_all(table.as_bytes())?)
}

/// A Markdown table, which also reads well on a terminal.
fn table(catalogue: &Catalogue) -> String {
    let mut text = String::from("| flag | environment | YAML | default | meaning |\n|---|---|---|---|---|\n");
    for (_, spec) in catalogue.rows() {
        let default = if spec.default.is_empty() { "–" } else { spec.default };
        let row = [spec.flag, spec.env, spec.yaml, default, spec.description];
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_lists_its_options_with_a_meaning() {
        for name in CommandName::ALL.into_iter().filter(|name| *name != CommandName::Options) {
            let table = table(&name.catalogue());
            assert!(table.lines().count() > 4, "{name:?} has options");
            assert!(!table.contains("|  |\n"), "an option of {name:?} says nothing:\n{table}");
        }
    }
}

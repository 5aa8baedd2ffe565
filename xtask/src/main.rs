//! Every chore of this workspace that is more than one cargo command.
//!
//! `cargo xtask ci` is what stands before a push, `cargo xtask test` runs every test and installs what
//! they need, `cargo xtask tidy` checks what no compiler checks. CI runs the same (`.ci/run`), so a
//! newcomer's machine and CI's cannot disagree.

// What a chore says is its product, and it says it to a person.
#![allow(clippy::print_stdout, reason = "a chore reports to the person who started it")]

mod bench;
mod ci;
mod counts;
mod deny;
mod fuzz;
mod install;
mod options;
mod shell;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::install::Consent;
use crate::shell::Workspace;

fn main() -> ExitCode {
    if let Some(compiled) = fuzz::compiler::run() {
        return compiled;
    }
    match run(&cli().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &ArgMatches) -> Result<()> {
    let workspace = Workspace::find()?;
    match args.subcommand() {
        Some(("bench", args)) => {
            let args: Vec<_> = args.get_many("args").into_iter().flatten().cloned().collect();
            bench::run(&workspace, Consent::new(false), &args)
        }
        Some(("ci", args)) => ci::run(&workspace, args.get_flag("full")),
        Some(("counts", args)) => {
            counts::run(&workspace, Consent::new(args.get_flag("install")), args.get_flag("record"))
        }
        Some(("fuzz", args)) => {
            let text = |name| args.get_one::<String>(name).cloned();
            let seconds = args.get_one("seconds").copied().unwrap_or(30);
            let plan = fuzz::Plan { target: text("target"), seconds, seed: 0, input: text("input") };
            fuzz::run(&workspace, Consent::new(args.get_flag("install")), &plan)
        }
        Some(("options", _)) => options::run(&workspace),
        Some(("soak", args)) => {
            let args: Vec<_> = args.get_many("args").into_iter().flatten().cloned().collect();
            soak::run(&workspace, &args)
        }
        Some(("test", args)) => test::run(&workspace, Consent::new(args.get_flag("install"))),
        Some(("tidy", _)) => tidy::run(&workspace),
        other => unreachable!("clap requires a known subcommand, got {other:?}"),
    }
}

fn cli() -> Command {
    let install = Arg::new("install")
        .long("install")
        .action(ArgAction::SetTrue)
        .help("Install missing Debian packages with sudo (root needs no flag)");
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Chores of the nfrx workspace")
        .after_help("NFRX_OFFLINE=1 downloads nothing and says what is left out.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            // What it knows is its own business, `--help` included.
            Command::new("bench")
                .about("Measures nfrx and its peers in release mode (`bench --help` tells more)")
                .disable_help_flag(true)
                .arg(Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommand(
            Command::new("ci").about("Runs everything a push must pass, and stops at the first failure").arg(
                Arg::new("full")
                    .long("full")
                    .action(ArgAction::SetTrue)
                    .help("Also what takes long: ten minutes of soak under each of three seeds, and ten of each fuzz target"),
            ),
        )
        .subcommand(
            Command::new("counts")
                .about("Counts the instructions of what is hot and compares with those on record")
                .arg(
                    Arg::new("record")
                        .long("record")
                        .action(ArgAction::SetTrue)
                        .help("Writes down what was counted, to be compared with from then on"),
                )
                .arg(install.clone()),
        )
        .subcommand(fuzz_command(install.clone()))
        .subcommand(Command::new("options").about("Writes docs/options.md from the options in the code"))
        .subcommand(
            Command::new("soak")
                .about("Loads a whole relay under random faults and checks what must hold")
                .disable_help_flag(true)
                .arg(Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommand(
            Command::new("test").about("Runs every test, installing first what they need").arg(install),
        )
        .subcommand(Command::new("tidy").about("Checks what no compiler checks: crate arrows, files, words"))
}

fn fuzz_command(install: Arg) -> Command {
    Command::new("fuzz")
        .about("Invents inputs for what reads bytes from outside, and checks what must hold")
        .arg(Arg::new("target").help("One target, a folder of crates/nfrx-fuzz/corpus [default: all]"))
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("NUMBER")
                .value_parser(clap::value_parser!(u64).range(1..))
                .help("How long each target runs [default: 30]"),
        )
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("FILE")
                .requires("target")
                .help("Runs this input alone"),
        )
        .arg(install)
}

#[cfg(test)]
mod tests {
    use super::cli;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        cli().debug_assert();
    }
}

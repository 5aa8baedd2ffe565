//! `cargo xtask soak`: a whole relay in one process, on real sockets, under random load and
//! random faults, drawn from a seed. It checks what must hold whatever breaks:
//!
//! - every request ends once, with the right answer to its last byte, with an honest error,
//!   or visibly broken: never with a wrong or half answer that looks whole, never not at all;
//! - when the load pauses, nothing is left: no slot, no queue entry, no stream, no task, no
//!   file, and what was started is what has ended;
//! - memory does not grow from one pause to the next.
//!
//! Loads and faults replay with their seed; the order in which they meet is the machine's.

#![expect(clippy::print_stdout, reason = "its report is its product, for the person who started it")]

mod attack;
mod audit;
mod catalog;
mod client;
mod judge;
mod member;
mod outcome;
mod process;
mod run;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use crate::run::Plan;

/// More than one, so that what may race does.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let args = cli().get_matches();
    let plan = plan(&args);
    println!("soak: {:.1} minutes, --seed {}", plan.span.as_secs_f64() / 60.0, plan.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run::run(&plan)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(report) => {
            println!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn cli() -> Command {
    Command::new("nfrx-soak")
        .bin_name("cargo xtask soak")
        .about("Loads a whole relay under random faults and checks what must hold")
        .arg(
            Arg::new("minutes")
                .long("minutes")
                .value_parser(clap::value_parser!(f64))
                .default_value("1")
                .help("How long the load lasts; pauses and checks come on top"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_parser(clap::value_parser!(u64))
                .default_value("1")
                .help("Draws the load and the faults"),
        )
        .arg(
            Arg::new("clients")
                .long("clients")
                .value_parser(clap::value_parser!(u16).range(1..1_000))
                .default_value("48")
                .help("Clients that ask at once"),
        )
}

fn plan(args: &ArgMatches) -> Plan {
    let minutes = args.get_one("minutes").copied().unwrap_or(1.0_f64);
    let seed = args.get_one("seed").copied().unwrap_or(1);
    let clients = args.get_one("clients").copied().unwrap_or(48);
    Plan { seed, span: Duration::from_secs_f64(minutes.clamp(0.05, 24.0 * 60.0) * 60.0), clients }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        super::cli().debug_assert();
    }
}

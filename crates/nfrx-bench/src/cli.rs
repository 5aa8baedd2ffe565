//! The command line, and what it starts.

use std::env;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use nfrx_sim::{Sim, SimConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::BACKEND;
use crate::figure::{FIGURES, Figure};
use crate::jobs::{self, JobsPlan};
use crate::load::Times;
use crate::machine::Machine;
use crate::reach::{self, PARTS, Part, ReachPlan};
use crate::report::{Report, json_of, save};
use crate::session::{Plan, Programs, Session};
use crate::swarm::{self, SWARM};

/// The subcommand that measures job queues.
const JOBS: &str = "jobs";
/// The subcommand that measures how far a server reaches.
const REACH: &str = "reach";

/// Fewer rounds have no median worth the name.
const ROUNDS: &str = "3";

const TIMES: Times =
    Times { warm_up: Duration::from_millis(500), window: Duration::from_secs(3), repeats: 6 };
const QUICK: Times =
    Times { warm_up: Duration::from_millis(250), window: Duration::from_secs(1), repeats: 2 };

/// Does what the arguments of this process say.
///
/// # Errors
///
/// The arguments make no sense, or there is no backend to measure with. A target that fails is no
/// error: the report says so.
pub fn run() -> Result<()> {
    let args = command().get_matches();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = stopped()?;
        match args.subcommand() {
            Some((BACKEND, args)) => serve(args, stop).await,
            Some((JOBS, args)) => tokio::select! {
                measured = measure_jobs(args) => measured,
                () = stop => bail!("stopped"),
            },
            Some((REACH, args)) => tokio::select! {
                measured = measure_reach(args) => measured,
                () = stop => bail!("stopped"),
            },
            Some((SWARM, args)) => tokio::select! {
                ended = swarm::run(args) => ended,
                () = stop => Ok(()),
            },
            _ => tokio::select! {
                measured = measure(&args) => measured,
                // Ending here drops the session, and with it all processes.
                () = stop => bail!("stopped"),
            },
        }
    })
}

async fn serve(args: &ArgMatches, stop: impl Future<Output = ()>) -> Result<()> {
    let addr: SocketAddr = text(args, "addr").context("an address is required")?.parse()?;
    Sim::bind(addr, SimConfig::default()).await?.serve(stop).await?;
    Ok(())
}

async fn measure(args: &ArgMatches) -> Result<()> {
    let machine = Machine::look();
    let plan = plan(args)?;
    let mut session = Session::start(&plan.programs, &plan.peers).await?;
    let results = session.measure(&plan).await?;
    let targets = session.targets();
    let Times { window, repeats, .. } = plan.times;
    let terms = format!("{} rounds of {window:?} ({repeats} transfers)", plan.rounds);
    let report = Report {
        machine: &machine,
        terms: &terms,
        targets: &targets,
        left_out: &session.left_out,
        results: &results,
        memory: &session.memory,
    };
    let file = result_file(args, "")?;
    save(&json_of(&report), &file)?;
    println!("{}\nwritten to {}", report.text(), file.display());
    Ok(())
}

async fn measure_jobs(args: &ArgMatches) -> Result<()> {
    let nfrx = program(args, "nfrx", beside("nfrx"))?;
    let redis = program(args, "redis", on_path("redis-server"))?;
    let plan = JobsPlan {
        rounds: rounds(args)?,
        quick: args.get_flag("quick"),
        nfrx: nfrx.as_deref().context("there is no nfrx beside this program: name one with --nfrx")?,
        redis: redis.as_deref(),
    };
    jobs::measure(&plan, &result_file(args, "jobs-")?).await
}

async fn measure_reach(args: &ArgMatches) -> Result<()> {
    let only: Vec<_> = args.get_many::<String>("part").into_iter().flatten().collect();
    let chosen = |part: &&Part| only.is_empty() || only.iter().any(|name| *name == part.name());
    let workers = text(args, "workers").and_then(|workers| workers.parse().ok());
    let workers = workers.filter(|workers| (2_000..=14_000).contains(workers));
    let plan = ReachPlan {
        parts: PARTS.iter().filter(chosen).copied().collect(),
        rounds: rounds(args)?,
        quick: args.get_flag("quick"),
        workers: workers.context("--workers takes a number from 2,000 to 14,000")?,
        peers: args.get_many::<String>("peer").into_iter().flatten().cloned().collect(),
        programs: programs(args)?,
    };
    reach::measure(&plan, &result_file(args, "reach-")?).await
}

/// Where the results of this run go.
fn result_file(args: &ArgMatches, prefix: &str) -> Result<PathBuf> {
    if let Some(file) = text(args, "json") {
        return Ok(PathBuf::from(file));
    }
    let folder = text(args, "out").map_or_else(default_folder, |folder| Ok(PathBuf::from(folder)))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(folder.join(format!("{prefix}{}.json", now.as_secs())))
}

fn rounds(args: &ArgMatches) -> Result<u32> {
    let rounds = text(args, "rounds").unwrap_or(ROUNDS).parse();
    let rounds = rounds.ok().filter(|rounds| (1..=100).contains(rounds));
    rounds.context("--rounds takes a number from 1 to 100")
}

fn plan(args: &ArgMatches) -> Result<Plan> {
    let only: Vec<_> = args.get_many::<String>("only").into_iter().flatten().collect();
    let chosen = |figure: &&Figure| only.is_empty() || only.iter().any(|name| *name == figure.name);
    Ok(Plan {
        figures: FIGURES.iter().filter(chosen).copied().collect(),
        rounds: rounds(args)?,
        times: if args.get_flag("quick") { QUICK } else { TIMES },
        peers: args.get_many::<String>("peer").into_iter().flatten().cloned().collect(),
        programs: programs(args)?,
    })
}

fn programs(args: &ArgMatches) -> Result<Programs> {
    Ok(Programs {
        nfrx: program(args, "nfrx", beside("nfrx"))?,
        rathole: program(args, "rathole", on_path("rathole"))?,
        nginx: program(args, "nginx", on_path("nginx"))?,
    })
}

/// What an argument names, which must exist, or else what was found.
fn program(args: &ArgMatches, name: &str, found: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let Some(named) = text(args, name) else { return Ok(found) };
    // Absolute, since processes start in folders of their own.
    let named = std::path::absolute(named).with_context(|| format!("--{name} names no path"))?;
    if !named.is_file() {
        bail!("--{name}: there is no program {}", named.display());
    }
    Ok(Some(named))
}

/// A program built together with this one.
fn beside(name: &str) -> Option<PathBuf> {
    let program = env::current_exe().ok()?.parent()?.join(name);
    program.is_file().then_some(program)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// `bench` in the folder for everything built.
fn default_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find this very program")?;
    let target = program.parent().and_then(Path::parent).context("this program lies nowhere")?;
    Ok(target.join("bench"))
}

/// Completes when a person or a supervisor wants us to end.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn text<'a>(args: &'a ArgMatches, name: &str) -> Option<&'a str> {
    args.get_one::<String>(name).map(String::as_str)
}

fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let names = FIGURES.iter().map(|figure| figure.name);
    let figures = FIGURES.iter().map(|figure| format!("  {:12} {}\n", figure.name, figure.about));
    let parts: String = PARTS.iter().map(|part| format!("  {:12} {}\n", part.name(), part.about())).collect();
    Command::new("nfrx-bench")
        .bin_name("cargo xtask bench")
        .about("Measures nfrx and its peers on the same way to the same simulated backend")
        .after_help(format!("Figures:\n{}", figures.collect::<String>()))
        .args([
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .global(true)
                .help("Short rounds: rough figures"),
            option("only", "FIGURE", "Measure this figure; may be repeated")
                .action(ArgAction::Append)
                .value_parser(names.collect::<Vec<_>>()),
            option("rounds", "N", "How often everything is measured, in turn")
                .global(true)
                .default_value(ROUNDS),
            option("peer", "NAME=URL", "Also measure what listens there; may be repeated")
                .global(true)
                .action(ArgAction::Append),
            option("nfrx", "PATH", "The nfrx binary [default: the one beside this program]").global(true),
            option("rathole", "PATH", "The rathole binary [default: the one on PATH]").global(true),
            option("nginx", "PATH", "The nginx binary [default: the one on PATH]").global(true),
            option("out", "FOLDER", "Where the JSON file goes [default: target/bench]").global(true),
            option("json", "FILE", "The JSON file itself, instead of a new one in a folder").global(true),
        ])
        .subcommand(Command::new(JOBS).about("Measures the job queue beside lists in Redis").arg(option(
            "redis",
            "PATH",
            "The redis-server binary [default: the one on PATH]",
        )))
        .subcommand(
            Command::new(REACH)
                .about("Measures how far one server reaches: workers, streams, memory")
                .after_help(format!("Parts:\n{parts}"))
                .arg(
                    // A server holds 16,384 workers of a plugin.
                    option("workers", "N", "How many workers are many").default_value("4000"),
                )
                .arg(
                    option("part", "PART", "Measure this part; may be repeated")
                        .action(ArgAction::Append)
                        .value_parser(PARTS.iter().map(|part| part.name()).collect::<Vec<_>>()),
                ),
        )
        .subcommand(swarm::command())
        .subcommand(
            Command::new(BACKEND)
                .hide(true)
                .about("Serves the simulated backend until it is told to stop")
                .arg(Arg::new("addr").required(true)),
        )
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }
}

//! `cargo xtask fuzz`: libFuzzer invents inputs for the targets of `crates/nfrx-fuzz`.
//!
//! Each folder in its `corpus` is a target. All are one program, which is built with counters
//! in our own crates only ([`compiler`]), so that the others are built once. What libFuzzer
//! finds worth keeping stays in `target/fuzz/found`, and what broke a promise in
//! `target/fuzz/broken`.

pub(crate) mod compiler;
mod report;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use self::report::Report;
use crate::install::{self, Consent};
use crate::shell::{Workspace, echo, run as sh};

/// The targets' inputs, and the words that help to invent some.
const CORPUS: &str = "crates/nfrx-fuzz/corpus";
const DICTIONARIES: &str = "crates/nfrx-fuzz/dictionaries";
/// Where the program is built, and what it writes.
const PROGRAM: &str = "target/fuzz/nfrx-fuzz-target";
const FOUND: &str = "target/fuzz/found";
const BROKEN: &str = "target/fuzz/broken";
const LOGS: &str = "target/fuzz/logs";
/// Tells the program which target to be.
const TARGET: &str = "NFRX_FUZZ_TARGET";

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One target, or all.
    pub(crate) target: Option<String>,
    /// How long each.
    pub(crate) seconds: u64,
    /// Where libFuzzer's random numbers begin; 0: anywhere, and it prints where.
    pub(crate) seed: u32,
    /// This input alone, to see again what it breaks.
    pub(crate) input: Option<String>,
}

/// Builds the program, as far as a fuzzer can be built here.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    if can_build(workspace, Consent::new(false))? { build(workspace) } else { Ok(()) }
}

/// What every push must pass: without the build two and a half minutes on two cores.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    run(workspace, Consent::new(false), &Plan { target: None, seconds: 30, seed: 1, input: None })
}

/// What takes three quarters of an hour.
pub(crate) fn long(workspace: &Workspace) -> Result<()> {
    run(workspace, Consent::new(false), &Plan { target: None, seconds: 600, seed: 0, input: None })
}

/// Builds the program, runs what is planned, and fails if a promise was broken.
pub(crate) fn run(workspace: &Workspace, consent: Consent, plan: &Plan) -> Result<()> {
    let targets = targets(workspace, plan.target.as_deref())?;
    if !can_build(workspace, consent)? {
        return Ok(());
    }
    build(workspace)?;
    if let Some(input) = &plan.input {
        let [target] = &targets[..] else { bail!("an input belongs to one target: name it") };
        return sh(program(workspace, target).arg(input));
    }
    let reports = run_all(workspace, &targets, plan)?;
    print!("\n{}", report::table(&reports));
    let broken: Vec<_> = reports.iter().filter(|report| report.fault.is_some()).collect();
    for report in &broken {
        print!("\n{}", report.how_to_repeat());
    }
    ensure!(broken.is_empty(), "{} target(s) broke a promise", broken.len());
    Ok(())
}

/// The targets' names; the one that is wanted, if one is.
fn targets(workspace: &Workspace, wanted: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in fs::read_dir(workspace.path(CORPUS)).context("there is no corpus")? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    match wanted {
        None => Ok(names),
        Some(wanted) if names.iter().any(|name| name == wanted) => Ok(vec![wanted.to_owned()]),
        Some(wanted) => bail!("there is no target `{wanted}`, but {}", names.join(", ")),
    }
}

/// Whether there is a compiler of C++, which is installed if it may be; if not, that is printed.
fn can_build(workspace: &Workspace, consent: Consent) -> Result<bool> {
    let compiler = install::command(workspace, consent, &install::CPP, "the fuzzer, which is C++")?;
    Ok(compiler.is_some())
}

fn build(workspace: &Workspace) -> Result<()> {
    let line = "build --quiet --profile fuzz --locked --package nfrx-fuzz --features libfuzzer";
    let this = std::env::current_exe().context("cannot tell where this program lies")?;
    sh(workspace.cargo(line).env("RUSTC_WORKSPACE_WRAPPER", this).env(compiler::MARK, "1"))
}

fn program(workspace: &Workspace, target: &str) -> Command {
    let mut command = workspace.command(workspace.path(PROGRAM));
    command.env(TARGET, target);
    command
}

/// As many at a time as there are cores.
fn run_all(workspace: &Workspace, targets: &[String], plan: &Plan) -> Result<Vec<Report>> {
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let work = || {
        let mut reports = Vec::new();
        while let Some(target) = next() {
            reports.push(run_one(workspace, target, plan)?);
        }
        Ok(reports)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    let reports: Result<Vec<Vec<Report>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let mut reports: Vec<Report> = reports?.into_iter().flatten().collect();
    reports.sort_unstable_by(|a, b| a.target.cmp(&b.target));
    Ok(reports)
}

fn run_one(workspace: &Workspace, target: &str, &Plan { seconds, seed, .. }: &Plan) -> Result<Report> {
    let found = format!("{FOUND}/{target}");
    let broken = format!("{BROKEN}/{target}/");
    for folder in [&found, &broken, LOGS] {
        fs::create_dir_all(workspace.path(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    let log = workspace.path(&format!("{LOGS}/{target}.log"));
    let mut command = program(workspace, target);
    command
        .args([&found, &format!("{CORPUS}/{target}"), &format!("-max_total_time={seconds}")])
        .args([format!("-seed={seed}"), format!("-artifact_prefix={broken}")])
        // What takes seconds for a few kilobytes, or much memory, breaks a promise too.
        .args(["-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1"]);
    let dictionary = format!("{DICTIONARIES}/{target}.dict");
    if workspace.path(&dictionary).is_file() {
        command.arg(format!("-dict={dictionary}"));
    }
    echo(&command);
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).status();
    let status = status.context("cannot start the fuzzer")?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let report = Report::read(target, &String::from_utf8_lossy(&text));
    ensure!(report.has_counters, "{target} ran without counters: see {}", log.display());
    ensure!(
        status.success() || report.fault.is_some(),
        "{target} failed and names no input: see {}",
        log.display()
    );
    Ok(report)
}

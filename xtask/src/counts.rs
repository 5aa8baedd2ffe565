//! `cargo xtask counts`: instructions of what is hot, compared with those on record.
//!
//! Times are noise on a shared machine, counts are not. Valgrind runs each workload of
//! `crates/nfrx-counts` and counts inside one of its functions only, so that getting ready
//! costs nothing. What it knows of each function stays in `target/counts`.

mod record;

use std::env::consts::ARCH;

use anyhow::{Context, Result, ensure};

use self::record::{Compared, Record};
use crate::install::{self, Consent};
use crate::shell::{Workspace, capture, run as sh};

/// What was counted when it was last recorded.
const RECORD: &str = "crates/nfrx-counts/recorded.txt";
const PROGRAM: &str = "target/counts/nfrx-counts";
/// The function in which instructions count, with what it calls.
const COUNTED: &str = "nfrx_counts::counted";

/// What every push must pass.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(workspace, Consent::new(false), false)
}

/// Counts, prints a table, and fails if something costs more than is on record, or records it.
pub(crate) fn run(workspace: &Workspace, consent: Consent, record: bool) -> Result<()> {
    if install::command(workspace, consent, &install::VALGRIND, "the counts of instructions")?.is_none() {
        return Ok(());
    }
    sh(&mut workspace.cargo("build --quiet --profile counts --locked --package nfrx-counts"))?;
    let compiler = capture(workspace.command("rustc").arg("--version"))?.trim().to_owned();
    let mut counted = Record { arch: ARCH.to_owned(), compiler, counts: Vec::new() };
    for workload in capture(&mut workspace.command(workspace.path(PROGRAM)))?.lines() {
        let (name, operations) = workload.split_once(' ').context("a workload has a name and a number")?;
        let count = count(workspace, name)? / operations.parse::<u64>().context("a number of operations")?;
        counted.counts.push((name.to_owned(), count));
    }
    let file = workspace.path(RECORD);
    let recorded = std::fs::read_to_string(&file).unwrap_or_default();
    let recorded = Record::read(&recorded).with_context(|| format!("in {RECORD}"))?;
    let compared = Compared::new(&counted, &recorded);
    print!("\n{}", compared.table());
    if record {
        println!("\nrecorded in {RECORD}: commit it with the reason");
        return std::fs::write(&file, counted.text()).with_context(|| format!("cannot write {RECORD}"));
    }
    print!("{}", compared.advice());
    ensure!(compared.holds(), "what is hot costs more than is on record");
    Ok(())
}

/// The instructions of all operations of a workload.
fn count(workspace: &Workspace, name: &str) -> Result<u64> {
    let mut valgrind = workspace.command("valgrind");
    valgrind
        .args(["--tool=callgrind", &format!("--toggle-collect={COUNTED}")])
        .arg(format!("--callgrind-out-file=target/counts/{name}.callgrind"))
        .args([PROGRAM, name]);
    let output = valgrind.output().context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed ({}):\n{said}", output.status);
    collected(&said).with_context(|| format!("valgrind counted nothing inside {COUNTED} of {name}:\n{said}"))
}

/// The sum that valgrind closes with; none where the function was never entered.
fn collected(said: &str) -> Option<u64> {
    let sum = said.lines().find_map(|line| line.split_once("== Collected :"))?.1;
    sum.trim().parse().ok().filter(|sum| *sum > 0)
}

#[cfg(test)]
mod tests {
    use super::collected;

    // Seen to fail: with a count of nothing taken for one.
    #[test]
    fn the_sum_is_read_and_none_is_no_sum() {
        let said = "==7== Events    : Ir\n==7== Collected : 33233823\n==7== \n==7== I   refs:      9";
        assert_eq!(collected(said), Some(33_233_823));
        assert_eq!(collected("==7== Collected : 0\n"), None);
        assert_eq!(collected("==7== Command: true\n"), None);
    }
}

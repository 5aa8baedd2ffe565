//! `cargo xtask ci`: everything a push must pass, the quick checks first.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::install::Consent;
use crate::shell::{Workspace, run as sh};
use crate::{counts, deny, fuzz, soak, test, tidy};

/// A step's name, and what it does.
type Step = (&'static str, fn(&Workspace) -> Result<()>);

/// Those of a row run side by side: what waits or has a fixed time, beside what computes.
const STEPS: &[&[Step]] = &[
    &[("format", format)],
    &[("tidy", tidy::run)],
    &[("clippy", clippy), ("tools", test::install)],
    &[("docs", docs)],
    &[("deny", |workspace| deny::check(workspace, Consent::new(false)))],
    &[("test", |workspace| test::run(workspace, Consent::new(false)))],
    &[("soak", soak::short), ("fuzzer", fuzz::prepare)],
    &[("fuzz", fuzz::short), ("counts", counts::check)],
];

/// What is run before a release.
const LONG_STEPS: &[&[Step]] = &[&[("long soak", soak::long), ("long fuzz", fuzz::long)]];

/// Runs the steps in order, the long ones if `full`, stops after the row in which one fails, and
/// closes with what each took.
pub(crate) fn run(workspace: &Workspace, full: bool) -> Result<()> {
    let long = if full { LONG_STEPS } else { &[] };
    let mut times = Vec::new();
    let (outcome, all) =
        timed(|| STEPS.iter().chain(long).try_for_each(|row| run_row(workspace, row, &mut times)));
    times.push(("all", all));
    print!("\n{}", table(&times));
    outcome?;
    println!("ci passed");
    Ok(())
}

/// Runs the steps of a row to their ends, and notes what each took.
fn run_row(workspace: &Workspace, row: &[Step], times: &mut Vec<(&'static str, Duration)>) -> Result<()> {
    let run = |(name, step): Step| {
        println!("\n== {name}");
        let (result, took) = timed(|| step(workspace));
        println!("== {name} took {:.1} s", took.as_secs_f64());
        if let Err(error) = &result {
            println!("== {name} failed: {error:#}");
        }
        (result.with_context(|| format!("ci failed at {name}")), (name, took))
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = row.iter().map(|step| scope.spawn(move || run(*step))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a step does not panic")).collect()
    });
    times.extend(results.iter().map(|(_, time)| *time));
    results.into_iter().try_for_each(|(result, _)| result)
}

fn format(workspace: &Workspace) -> Result<()> {
    sh(&mut workspace.cargo("fmt --all --check"))?;
    for example in test::examples(workspace)? {
        sh(&mut workspace.cargo(&format!("fmt --manifest-path {example} --check")))?;
    }
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    sh(&mut workspace.cargo("clippy --workspace --all-targets --locked -- -D warnings"))
}

fn docs(workspace: &Workspace) -> Result<()> {
    sh(workspace.cargo("doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "-D warnings"))
}

#[expect(clippy::disallowed_methods, reason = "a report for people; no test pauses it, no tokio is here")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    (work(), start.elapsed())
}

/// One line per step, the seconds flush right.
fn table(times: &[(&str, Duration)]) -> String {
    times.iter().map(|(name, took)| format!("{name:<10}{:>8.1} s\n", took.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use anyhow::{Result, bail, ensure};

    use super::{Step, run_row, table};
    use crate::shell::Workspace;

    static ARRIVED: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

    /// Waits for the other of two.
    fn meet() -> Result<()> {
        let (count, changed) = &ARRIVED;
        let mut arrived = count.lock().unwrap();
        *arrived += 1;
        changed.notify_all();
        let waited = changed.wait_timeout_while(arrived, Duration::from_secs(10), |arrived| *arrived < 2);
        ensure!(*waited.unwrap().0 == 2, "nobody came");
        Ok(())
    }

    // Seen to fail: with steps one after the other; with the first result alone.
    #[test]
    fn steps_of_a_row_run_side_by_side_and_one_that_fails_fails_the_row() {
        let well: Step = ("well", |_| meet());
        let fail: Step = ("fail", |_| {
            meet()?;
            bail!("on purpose")
        });
        let mut times = Vec::new();
        let error = run_row(&Workspace::find().unwrap(), &[well, fail], &mut times).unwrap_err();
        assert_eq!(format!("{error:#}"), "ci failed at fail: on purpose");
        assert_eq!(times.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["well", "fail"]);
    }

    #[test]
    fn seconds_stand_flush_right() {
        let times = [("format", Duration::from_millis(1_240)), ("test", Duration::from_secs(100))];
        assert_eq!(table(&times), "format         1.2 s\ntest         100.0 s\n");
    }
}

//! `cargo xtask ci`: everything a push must pass, the quick checks first.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::install::Consent;
use crate::shell::{Workspace, run as sh};
use crate::{counts, deny, fuzz, soak, test, tidy};

/// A step's name, and what it does.
type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("format", |workspace| {
        sh(&mut workspace.cargo("fmt --all --check"))?;
        for example in test::examples(workspace)? {
            sh(&mut workspace.cargo(&format!("fmt --manifest-path {example} --check")))?;
        }
        Ok(())
    }),
    ("tidy", tidy::run),
    ("clippy", |workspace| {
        sh(&mut workspace.cargo("clippy --workspace --all-targets --locked -- -D warnings"))
    }),
    ("docs", |workspace| {
        sh(workspace.cargo("doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("deny", |workspace| deny::check(workspace, Consent::new(false))),
    ("test", |workspace| test::run(workspace, Consent::new(false))),
    ("soak", soak::short),
    ("fuzz", fuzz::short),
    ("counts", counts::check),
];

/// What is run before a release.
const LONG_STEPS: &[Step] = &[("long soak", soak::long), ("long fuzz", fuzz::long)];

/// Runs the steps in order, the long ones if `full`, stops at the first that fails, and closes
/// with what each took.
pub(crate) fn run(workspace: &Workspace, full: bool) -> Result<()> {
    let mut times = Vec::new();
    let mut outcome = Ok(());
    let long = if full { LONG_STEPS } else { &[] };
    for (name, step) in STEPS.iter().chain(long) {
        println!("\n== {name}");
        let (result, took) = timed(|| step(workspace));
        println!("== {name} took {:.1} s", took.as_secs_f64());
        times.push((*name, took));
        if result.is_err() {
            outcome = result.with_context(|| format!("ci failed at {name}"));
            break;
        }
    }
    print!("\n{}", table(&times));
    outcome?;
    println!("ci passed");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a report for people; no test pauses it, no tokio is here")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    (work(), start.elapsed())
}

/// One line per step and one for the sum, the seconds flush right.
fn table(times: &[(&str, Duration)]) -> String {
    let sum = ("all", times.iter().map(|(_, took)| *took).sum());
    let lines = times.iter().chain(std::iter::once(&sum));
    lines.map(|(name, took)| format!("{name:<10}{:>8.1} s\n", took.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::table;

    #[test]
    fn the_table_closes_with_the_sum() {
        let times = [("format", Duration::from_millis(1_240)), ("test", Duration::from_secs(100))];
        assert_eq!(table(&times), "format         1.2 s\ntest         100.0 s\nall          101.2 s\n");
    }
}

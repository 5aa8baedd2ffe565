//! `cargo xtask soak`: load and faults for minutes; everything after `soak` goes to the program
//! (`crates/nfrx-soak`).

use anyhow::Result;

use crate::shell::{Workspace, run as sh};

/// What every push must pass.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    run_in_ci(workspace, 1, 1)
}

/// What takes half an hour.
pub(crate) fn long(workspace: &Workspace) -> Result<()> {
    (1..=3).try_for_each(|seed| run_in_ci(workspace, 10, seed))
}

/// Builds it together with the tests, which CI has compiled before, and runs it: alone it would have
/// features of its own, and what it stands on would be compiled once more.
fn run_in_ci(workspace: &Workspace, minutes: u32, seed: u32) -> Result<()> {
    sh(&mut workspace.cargo("build --quiet --locked --workspace --tests --bin nfrx-soak"))?;
    let mut soak = workspace.command(workspace.path("target/debug/nfrx-soak"));
    sh(soak.args(["--minutes", &minutes.to_string(), "--seed", &seed.to_string()]))
}

/// Builds it as tests are built, with checks of overflow and debug assertions, and runs it.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    sh(workspace.cargo("run --quiet --locked --package nfrx-soak --").args(args))
}

//! `cargo xtask soak`: load and faults for minutes; everything after `soak` goes to the program
//! (`crates/nfrx-soak`).

use anyhow::Result;

use crate::shell::{Workspace, run as sh};

/// What every push must pass. Built together with the tests, which CI has compiled before: alone it
/// would have features of its own, and what it stands on would be compiled once more.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    sh(&mut workspace.cargo("build --quiet --locked --workspace --tests --bin nfrx-soak"))?;
    sh(workspace.command(workspace.path("target/debug/nfrx-soak")).args(["--minutes", "1"]))
}

/// What takes half an hour.
pub(crate) fn long(workspace: &Workspace) -> Result<()> {
    (1..=3).try_for_each(|seed| {
        let args = format!("--minutes 10 --seed {seed}");
        run(workspace, &args.split(' ').map(str::to_owned).collect::<Vec<_>>())
    })
}

/// Builds it as tests are built, with checks of overflow and debug assertions, and runs it.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    sh(workspace.cargo("run --quiet --locked --package nfrx-soak --").args(args))
}

//! `cargo xtask soak`: load and faults for minutes; everything after `soak` goes to the program
//! (`crates/nfrx-soak`).

use anyhow::Result;

use crate::shell::{Workspace, run as sh};

/// What every push must pass.
pub(crate) fn short(workspace: &Workspace) -> Result<()> {
    run(workspace, &["--minutes".to_owned(), "1".to_owned()])
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

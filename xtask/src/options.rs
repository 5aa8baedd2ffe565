//! The reference of all options, written from their declarations.

use anyhow::{Context, Result};

use crate::shell::{Workspace, capture, echo};

/// Writes `docs/options.md`; a test of the binary tells when it is out of date.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut nfrx = workspace.cargo("run --quiet --package nfrx -- options --markdown");
    echo(&nfrx);
    let page = capture(&mut nfrx)?;
    std::fs::write(workspace.path("docs/options.md"), page).context("cannot write docs/options.md")
}

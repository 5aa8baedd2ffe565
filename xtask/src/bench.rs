//! `cargo xtask bench`: builds what is measured, then measures it.
//!
//! The measuring is a program of its own (`crates/nfrx-bench`); everything after `bench` goes to it.

use anyhow::Result;

use crate::install::Consent;
use crate::shell::{Workspace, run as sh};

/// The peer our costs are compared with, and what is needed of it: plain TCP, both ends.
const PEER: (&str, &str) = ("rathole", "0.5.0");
const PEER_FEATURES: &str = "server,client";
/// Where it is installed.
const TOOLS: &str = "target/tools";

/// Builds in release mode, installs the peer once, and runs the measurement with `args`.
pub(crate) fn run(workspace: &Workspace, consent: Consent, args: &[String]) -> Result<()> {
    sh(&mut workspace.cargo("build --release --locked --package nfrx --package nfrx-bench"))?;
    let mut bench = workspace.command(workspace.path("target/release/nfrx-bench"));
    // The measurement of job queues has a peer of its own, which it looks for.
    if args.first().is_some_and(|first| first == "jobs") {
        return sh(bench.args(args));
    }
    let (peer, _) = PEER;
    let program = workspace.path(TOOLS).join("bin").join(peer);
    if !program.exists() {
        install(workspace, consent);
    }
    if program.exists() {
        bench.arg(format!("--{peer}")).arg(program);
    }
    sh(bench.args(args))
}

/// Compiles the peer. Without it there are figures all the same, only no ratios.
fn install(workspace: &Workspace, consent: Consent) {
    let (peer, version) = PEER;
    if consent.offline() {
        println!("NFRX_OFFLINE=1 and {peer} is not installed: left out are the ratios to it");
        return;
    }
    println!("compiling {peer} {version}, once; this takes some minutes");
    // Not `--locked`: its lock file names a crate that today's compiler refuses.
    let features = format!("--no-default-features --features {PEER_FEATURES}");
    let line = format!("install {peer} --version {version} {features} --root {TOOLS}");
    if let Err(error) = sh(&mut workspace.cargo(&line)) {
        println!("left out are the ratios to {peer}: {error:#}");
    }
}

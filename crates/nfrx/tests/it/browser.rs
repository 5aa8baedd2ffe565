//! The dashboard in a real browser, driven by a script. Left out where there is no browser
//! or no Node: `cargo xtask test` says so.

use std::path::Path;
use std::process::Command;

use crate::process::Process;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/node/browser/dashboard.mjs");
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/browser");

fn from_xtask(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`cargo xtask test` sets {name}"))
}

// Seen to fail: with texts written as HTML.
#[test]
fn the_dashboard_shows_what_happens_and_does_what_it_is_told() {
    let mut script = Command::new(from_xtask("NFRX_NODE"));
    script.arg(SCRIPT).args([env!("CARGO_BIN_EXE_nfrx"), &from_xtask("NFRX_BROWSER")]);
    script.arg(Path::new(PICTURES));
    let mut script = Process::start(script);
    let status = script.wait_within(std::time::Duration::from_secs(300));
    // Its figures are worth reading also when all went well.
    println!("{}", script.said());
    assert!(status.success(), "the browser shows something else:\n{}", script.said());
}

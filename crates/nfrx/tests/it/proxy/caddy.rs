//! With Debian's Caddy.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::{World, everything_passes, folder, shown, start};
use crate::process::Process;

/// Caddy with the page's configuration, but for the address, at which it would get a
/// certificate.
fn caddy(front: SocketAddr, back: SocketAddr) -> Process {
    let site = format!("http://:{} {{\n    bind {}\n", front.port(), front.ip());
    let shown = shown("caddyfile").replace("relay.example.org {\n", &site);
    let shown = shown.replace("127.0.0.1:8080", &back.to_string());
    assert!(shown.contains(&site) && shown.contains(&back.to_string()), "{shown}");
    let folder = folder("caddy", front);
    let file = folder.join("Caddyfile");
    fs::write(&file, format!("{{\n    admin off\n}}\n{shown}")).expect("a file for Caddy");
    let mut command = Command::new(std::env::var("NFRX_CADDY").expect("`cargo xtask test` sets NFRX_CADDY"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    // What it keeps would lie in the home of whoever runs the tests.
    command.env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
    start(command, front)
}

// Seen to fail: with the header `Connection` taken away.
#[test]
fn behind_caddy_everything_passes() {
    everything_passes(&World::start(caddy));
}

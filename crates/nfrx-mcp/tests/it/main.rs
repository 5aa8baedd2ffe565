//! A whole relay in one process: a server with the MCP plugin, agents that dial it, and a
//! private server behind each that does what a test tells it.
//!
//! Pipes and a paused clock: times are exact, and a run is like the one before. Only what
//! needs other programs stands on real ports (`node`, `python`), or starts them (`stdio`).

mod away;
mod doctor;
mod fake;
mod joined;
mod keep_alive;
mod leaving;
mod login;
mod many;
mod node;
mod oauth;
mod old;
mod operator;
mod python;
mod rig;
mod servers;
mod sse;
mod stand;
#[cfg(unix)]
mod stdio;
mod transparent;

#[tokio::test(start_paused = true)]
async fn the_plugin_keeps_the_contract_of_plugins() {
    nfrx_testkit::contract::check(|| Box::new(nfrx_mcp::McpFactory)).await;
}

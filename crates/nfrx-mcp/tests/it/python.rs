//! What needs Python: left out by name where there is none, `cargo xtask test` says so.

use tokio::process::Command;

use crate::rig::Folder;
use crate::stand::{Backend, Stand, fixture, from_xtask, output, script};

/// The lines that a client says, a script run by this Python; it has to end well.
async fn said(python: &str, client: &str, stand: &Stand) -> Vec<String> {
    let mut command = Command::new(from_xtask(python));
    command.arg(script(&format!("python/{client}"))).arg(stand.url());
    let ran = output(command).await;
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{errors}");
    let said = String::from_utf8(ran.stdout).expect("it prints text");
    said.lines().map(str::to_owned).collect()
}

// Seen to fail: with `Mcp-Session-Id` taken out of answers.
#[tokio::test]
async fn python_clients_of_both_eras_use_all_that_a_server_has() {
    let fixture = Backend::fixture().await;
    let stand = Stand::before(fixture.url()).await;
    let said = said("NFRX_PYTHON", "mcp_clients.py", &stand).await;
    let sdk = ["tools", "call", "progress", "sampling", "elicitation", "resource", "prompt"];
    let fast = ["call", "progress", "sampling", "elicitation"];
    let expected = sdk.map(|word| format!("legacy {word}")).into_iter();
    let expected = expected.chain(sdk.map(|word| format!("auto {word}")));
    let expected: Vec<_> = expected.chain(fast.map(|word| format!("fastmcp {word}"))).collect();
    assert_eq!(said, expected);
}

// Seen to fail: with `Mcp-Session-Id` taken out of answers.
#[tokio::test]
async fn the_python_client_before_the_new_era_uses_all_that_a_server_has() {
    let fixture = Backend::fixture().await;
    let stand = Stand::before(fixture.url()).await;
    let said = said("NFRX_PYTHON_MCP_1", "mcp_client_1.py", &stand).await;
    let expected = ["tools", "call", "progress", "sampling", "elicitation", "resource", "prompt"];
    assert_eq!(said, expected);
}

// Seen to fail: with answers to the server's own requests left out.
#[tokio::test]
async fn a_client_of_today_uses_a_server_of_the_first_revision() {
    let mut server = Command::new(from_xtask("NFRX_PYTHON"));
    server.arg(script("python/mcp_sse.py")).arg("serve");
    let address = |line: &str| {
        let (_, rest) = line.split_once("running on ")?;
        Some(format!("{}/sse", rest.split_whitespace().next()?))
    };
    let server = Backend::start(server, address).await;
    let options = [("mcp_enable_legacy_sse", "true")];
    let stand = Stand::of(&[("public", "true")], server.url(), &options).await;
    let said = said("NFRX_PYTHON", "mcp_sse.py", &stand).await;
    assert_eq!(said, ["tools", "progress", "elicitation"]);
}

// Seen to fail: with the answers to modern clients as legacy servers give them.
#[tokio::test]
async fn clients_of_both_eras_use_servers_that_are_one() {
    let server = Backend::fixture().await;
    let servers = serde_json::json!({ "mcpServers": {
        "http": { "url": server.url() },
        "stdio": { "command": fixture(), "args": ["stdio"] },
    } });
    let folder = Folder::new("python-joined");
    let file = folder.write("servers.json", &servers.to_string());
    let options = [("mcp_servers_file", file.to_str().expect("text")), ("mcp_aggregate", "true")];
    let stand = Stand::of(&[("public", "true")], server.url(), &options).await;
    let said = said("NFRX_PYTHON", "mcp_joined.py", &stand).await;
    let expected = [
        "legacy 2025-11-25 http",
        "legacy 2025-11-25 stdio",
        "auto 2026-07-28 http",
        "auto 2026-07-28 stdio",
    ];
    assert_eq!(said, expected);
}

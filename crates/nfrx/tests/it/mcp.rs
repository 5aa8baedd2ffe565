//! What helps to set an MCP agent up, as people type it.

use std::process::{Command, Output};

use serde_json::Value;

fn nfrx(args: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nfrx"));
    command.env_clear().envs(settings.iter().copied()).args(args).output().expect("it runs")
}

#[test]
fn a_clients_file_is_printed_or_written_with_the_address_and_the_key() {
    let home = std::env::temp_dir().join(format!("nfrx-mcp-client-{}", std::process::id()));
    let at = [
        ("SERVER_URL", "wss://relay.example/api/mcp/connect"),
        ("CLIENT_ID", "clock"),
        ("HOME", home.to_str().expect("text")),
    ];
    let printed = nfrx(&["mcp", "client-config", "--client", "cursor"], &at);
    let text: Value = serde_json::from_slice(&printed.stdout).expect("it prints JSON");
    assert_eq!(text["mcpServers"]["clock"]["url"], "https://relay.example/api/mcp/id/clock");
    let keyless = nfrx(&["mcp", "client-config", "--client", "cursor", "--write"], &at);
    assert!(!keyless.status.success() && String::from_utf8_lossy(&keyless.stderr).contains("API_KEY"));
    assert!(!home.exists(), "nothing was written");
    // Seen to fail: with the file printed all the same.
    let with_key = [&at[..], &[("API_KEY", "k")]].concat();
    let written = nfrx(&["mcp", "--write", "client-config", "--client", "cursor"], &with_key);
    assert!(written.status.success() && written.stdout.is_empty());
    let file = std::fs::read_to_string(home.join(".cursor/mcp.json")).expect("it was written");
    std::fs::remove_dir_all(&home).expect("it is ours");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    assert_eq!(file["mcpServers"]["clock"]["headers"]["Authorization"], "Bearer k");
}

#[test]
fn the_doctor_of_an_agent_without_anything_around_it_fails_and_says_where() {
    let away =
        [("SERVER_URL", "ws://127.0.0.1:9/api/mcp/connect"), ("PROVIDER_URL", "http://127.0.0.1:9/mcp")];
    let output = nfrx(&["mcp", "doctor"], &away);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.matches("FAIL").count()), (Some(1), 3), "{said}");
}

//! Servers that the agent starts, as real processes: that they serve, and that nothing of them
//! is left, however they and the agent end. No clock is paused.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use nfrx_testkit::relay::{Relay, patiently};
use serde_json::{Value, json};

use crate::fake::Fake;
use crate::rig::{CLOCK, McpAgent, POSTED, Plan, config, header, relay, request, until_state};
use crate::stand::fixture;

/// Answers `initialize` with the ids of its processes, and does nothing more of what it is
/// told: not at the end of its input, not by SIGTERM. What it starts is as stubborn.
const STUBBORN: &str = r#"trap "" TERM INT HUP
sleep 1000 &
respond() {
    printf '{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","pids":[%s,%s,%s]}}\n' $$ $! $PPID
}
while read -r line; do
    case "$line" in
        *initialize*) respond ;;
        *whoami*) printf '{"jsonrpc":"2.0","id":1,"result":{"pid":%s}}\n' $$ ;;
        *crash*) echo "crashing as told" >&2; exit 3 ;;
        *orphan*) kill -9 $PPID ;;
    esac
done
wait"#;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}"#;

/// A relay and an agent whose server is this script.
async fn scripted(name: &str, script: &str) -> (Relay, McpAgent) {
    started(&command(name, script)).await
}

/// The command that runs this script.
fn command(name: &str, script: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sh"));
    std::fs::write(&file, script).expect("the folder is cargo's");
    format!("sh {}", file.display())
}

async fn started(command: &str) -> (Relay, McpAgent) {
    let relay = relay(config(&[]));
    let agent = starting(command).join(&relay.entrance(), &Fake::plain()).await;
    (relay, agent)
}

/// An agent whose server is started so.
fn starting(command: &str) -> Plan {
    let program = fixture();
    assert!(program.exists(), "`cargo build --package nfrx-mcp --examples` makes {}", program.display());
    Plan::new("clock").with("mcp_stdio_command", command)
}

/// Opens a session: its id and the processes that serve it.
async fn session(relay: &Relay) -> (String, Vec<u64>) {
    let answer = relay.ask(request("POST", CLOCK, POSTED, INITIALIZE)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let pids = answer.json()["result"]["pids"].as_array().cloned().unwrap_or_default();
    (header(&answer, "mcp-session-id").to_owned(), pids.iter().filter_map(Value::as_u64).collect())
}

fn in_session(method: &str, id: &str, body: impl Into<Bytes>) -> http::Request<Bytes> {
    request(method, CLOCK, &[POSTED, &[("mcp-session-id", id)]].concat(), body)
}

fn call(name: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name } }).to_string()
}

/// Whether a process still does something.
fn runs(pid: &u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

async fn until_gone(pids: &[u64]) {
    assert_eq!(pids.len(), 3);
    patiently(async {
        while pids.iter().any(runs) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_fixture_is_served_in_both_eras() {
    let (relay, agent) = started(&format!("{} stdio", fixture().display())).await;
    agent.until(|status| status.connected_to_backend).await;
    let (id, _) = session(&relay).await;
    let answer = relay.ask(in_session("POST", &id, call("test_simple_text"))).await;
    assert!(answer.text().contains("This is a simple text response"), "{}", answer.text());
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "0" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "test_simple_text", "_meta": meta });
    let modern = json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": params });
    let mirrors = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "test_simple_text"),
    ];
    let answer = relay.ask(request("POST", CLOCK, &[POSTED, &mirrors].concat(), modern.to_string())).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "mcp-session-id")), (200, ""), "{}", answer.text());
    assert!(answer.text().contains("This is a simple text response"), "{}", answer.text());
}

#[tokio::test]
async fn a_server_that_ignores_its_end_is_killed_with_all_that_it_started() {
    let (relay, _agent) = scripted("deleted", STUBBORN).await;
    let (id, pids) = session(&relay).await;
    assert!(pids.iter().all(runs), "{pids:?}");
    assert_eq!(relay.ask(in_session("DELETE", &id, "")).await.status(), 204);
    until_gone(&pids).await;
}

#[tokio::test]
async fn a_server_that_crashes_leaves_nothing_and_says_why() {
    let (relay, _agent) = scripted("crashed", STUBBORN).await;
    let (id, pids) = session(&relay).await;
    let answer = relay.ask(in_session("POST", &id, call("crash"))).await.text();
    assert!(answer.contains("crashing as told") && answer.contains("exit status: 3"), "{answer}");
    until_gone(&pids).await;
    assert_eq!(relay.ask(in_session("POST", &id, call("crash"))).await.status(), 404);
}

#[tokio::test]
async fn a_server_that_can_not_be_started_is_told_with_the_reason() {
    let (relay, _agent) = started("/nowhere/at-all").await;
    let answer = relay.ask(request("POST", CLOCK, POSTED, INITIALIZE)).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("/nowhere/at-all"), "{}", answer.text());
}

#[tokio::test]
async fn a_supervisor_that_is_killed_leaves_nothing() {
    let (relay, _agent) = scripted("supervisor", STUBBORN).await;
    let (id, pids) = session(&relay).await;
    let mut client = relay.client().await;
    let asked = client.send(in_session("POST", &id, call("orphan")));
    let stream = patiently(asked).await.expect("an answer").into_body();
    until_gone(&pids).await;
    drop(stream);
}

#[tokio::test]
async fn an_agent_that_ends_leaves_nothing() {
    let (relay, mut agent) = scripted("ended", STUBBORN).await;
    let (_, pids) = session(&relay).await;
    agent.stop();
    assert_eq!(agent.ended().await, Ok(()));
    until_gone(&pids).await;
}

#[tokio::test]
async fn sessions_and_processes_are_still_there_when_the_agent_is_back() {
    let (relay, agent) = started(&format!("{} stdio", fixture().display())).await;
    let (id, _) = session(&relay).await;
    let mut client = relay.client().await;
    let asked = client.send(in_session("POST", &id, call("test_reconnection")));
    let mut stream = patiently(asked).await.expect("an answer").into_body();
    let mut seen = String::new();
    while !seen.contains("id: ") {
        let frame = patiently(stream.frame()).await.expect("more").expect("good");
        seen += std::str::from_utf8(&frame.into_data().expect("data")).expect("text");
    }
    agent.tunnel().cut();
    while patiently(stream.frame()).await.is_some_and(|frame| frame.is_ok()) {}
    let last = seen.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id");
    let headers = [POSTED, &[("mcp-session-id", id.as_str()), ("last-event-id", last)]].concat();
    let rest = relay.ask(request("GET", CLOCK, &headers, "")).await;
    assert_eq!(rest.status(), 200);
    assert!(rest.text().contains("\"result\""), "{}", rest.text());
    let answer = relay.ask(in_session("POST", &id, call("test_simple_text"))).await;
    assert!(answer.text().contains("This is a simple text response"), "{}", answer.text());
    assert!(agent.dialed() >= 2);
}

// Seen to fail, by never coming: without the SIGKILL to a group at its end.
#[tokio::test]
async fn a_hundred_sessions_leave_nothing_however_they_end() {
    let relay = relay(config(&[]));
    let plan = starting(&command("hundred", STUBBORN)).with("mcp_stdio_sessions_max", "100");
    let agent = plan.join(&relay.entrance(), &Fake::plain()).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(session(&relay).await);
    }
    agent.tunnel().cut();
    for (id, _) in &sessions[..30] {
        assert_eq!(relay.ask(in_session("DELETE", id, "")).await.status(), 204);
    }
    for (id, _) in &sessions[30..60] {
        let answer = relay.ask(in_session("POST", id, call("crash"))).await.text();
        assert!(answer.contains("crashing as told"), "{answer}");
    }
    for (_, pids) in &sessions[60..] {
        assert!(pids.iter().all(runs), "the loss of a connection ends no session");
    }
    agent.kill();
    for (_, pids) in &sessions {
        until_gone(pids).await;
    }
}

// Seen to fail: with legacy sessions not remembered by the relay.
#[tokio::test]
async fn a_session_stays_with_the_replica_that_runs_its_process() {
    let (relay, command) = (relay(config(&[])), command("replicas", STUBBORN));
    let replica = || starting(&command).with("mcp_replicas", "true");
    let _first = replica().join(&relay.entrance(), &Fake::plain()).await;
    let second = replica().join(&relay.entrance(), &Fake::plain()).await;
    let mut sessions = Vec::new();
    for _ in 0..24 {
        sessions.push(session(&relay).await);
    }
    for (id, pids) in &sessions {
        for _ in 0..3 {
            let answer = relay.ask(in_session("POST", id, call("whoami"))).await.text();
            assert!(answer.contains(&format!("{{\"pid\":{}}}", pids[0])), "{answer}");
        }
    }
    second.kill();
    // What is on its way to it until then is lost, and says so with 502.
    until_state(&relay, |mcp| mcp["clients"].as_array().is_some_and(|clients| clients.len() == 1)).await;
    let asked = sessions.iter().map(|(id, _)| relay.ask(in_session("POST", id, call("whoami"))));
    let answers = futures_util::future::join_all(asked).await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status() == status).count();
    assert_eq!(with(200) + with(503), 24);
    assert!(with(200) > 0 && with(503) > 0, "both had sessions, and one still has");
}

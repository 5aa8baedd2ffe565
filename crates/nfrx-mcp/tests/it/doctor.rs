//! What `nfrx mcp doctor` says, on real ports.

use nfrx_mcp::agent::{clients, diagnose};
use nfrx_spi::Secret;
use nfrx_testkit::relay::{API_KEY, Relay};

use crate::rig::config;
use crate::stand::{Backend, Stand, settings};

/// What the doctor says of a relay, one line a finding.
async fn said(
    addr: std::net::SocketAddr,
    backend: &str,
    key: Option<&str>,
    more: &[(&str, &str)],
) -> [String; 3] {
    let (config, mcp) = settings(addr, backend, more);
    let findings = diagnose(&config, &mcp, key.map(Secret::new).as_ref(), clients()).await;
    let findings = findings.expect("there is something to look at");
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    lines.try_into().expect("one server, one door, one address")
}

#[track_caller]
fn check(lines: &[String; 3], expected: [&str; 3]) {
    for (line, expected) in lines.iter().zip(expected) {
        let parts: Vec<_> = expected.split(" … ").collect();
        assert!(line.starts_with(parts[0]) && parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_and_where() {
    let fixture = Backend::fixture().await;
    let stand = Stand::with(&[], fixture.url()).await;
    let fine = said(stand.addr(), fixture.url(), Some(API_KEY), &[]).await;
    check(
        &fine,
        ["ok … nfrx-fixture 1.0.0, protocol 2025-11-25", "ok", "ok … /api/mcp/id/clock: nfrx-fixture"],
    );
    // Seen to fail: with the key of agents left out of the question.
    let keyless = said(stand.addr(), fixture.url(), None, &[("client_key", "wrong")]).await;
    check(&keyless, ["ok", "FAIL … set CLIENT_KEY", "FAIL … set API_KEY"]);
    let wrong = said(stand.addr(), fixture.url(), Some("wrong"), &[("client_id", "other")]).await;
    check(&wrong, ["ok", "ok", "FAIL … does not know API_KEY"]);
    let other = said(stand.addr(), "http://127.0.0.1:9/mcp", Some(API_KEY), &[("client_id", "other")]).await;
    check(&other, ["FAIL … Does it run", "ok", "FAIL … no agent has ever offered `other`"]);
    drop(fixture);
    let down = said(stand.addr(), "http://127.0.0.1:9/mcp", Some(API_KEY), &[]).await;
    check(&down, ["FAIL", "ok", "FAIL … can't reach the server behind it"]);
}

#[tokio::test]
async fn the_doctor_tells_a_server_without_the_plugin_and_none_at_all() {
    let relay = Relay::bind(config(&[])).await;
    let addr = relay.addr().expect("it is bound");
    let lines = said(addr, "http://127.0.0.1:9/mcp", None, &[]).await;
    assert!(lines[1].contains("PLUGINS"), "{}", lines[1]);
    relay.stop();
    relay.ended().await;
    let lines = said(addr, "http://127.0.0.1:9/mcp", None, &[]).await;
    assert!(lines[1].contains("can't be reached"), "{}", lines[1]);
}

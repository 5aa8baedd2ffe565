//! Backends that stall: an error before the first byte, a broken body after it.

use std::time::Duration;

use nfrx_testkit::relay::{Relay, TestAgent, config, patiently};
use serde_json::json;
use tokio::time::Instant;

use crate::ask::{chat, open, rest};

/// A limit of ten seconds bounds both phases of a stalled backend.
async fn check(relay: &Relay, agent: &TestAgent) {
    for stream in [false, true] {
        let start = Instant::now();
        let answer = relay.ask(chat(&json!({ "stream": stream, "x_sim_stall_after": 0 }))).await;
        assert_eq!((answer.status().as_u16(), answer.text().as_str()), (504, r#"{"error":"timeout"}"#));
        assert_eq!(start.elapsed().as_secs(), 10);
    }
    let mut client = relay.client().await;
    let start = Instant::now();
    let mut body = open(&mut client, chat(&json!({ "stream": true, "x_sim_stall_after": 3 }))).await;
    let (text, clean) = rest(&mut body).await;
    assert!(!clean && text.starts_with("data: "), "{text}");
    assert_eq!(start.elapsed().as_secs(), 10);
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 3 && stats.in_flight == 0)).await;
}

// Seen to fail: without the limit in the backend client.
#[tokio::test(start_paused = true)]
async fn the_agents_limit_ends_what_its_backend_stalls() {
    let relay = Relay::start(config(&[]));
    let mut plan = super::plan("a", 2);
    plan.request_timeout = Some(Duration::from_secs(10));
    let agent = plan.join(&relay.entrance()).await;
    check(&relay, &agent).await;
}

// Seen to fail: without the limit of silence.
#[tokio::test(start_paused = true)]
async fn the_servers_limit_ends_what_an_agent_lets_stall() {
    let relay = Relay::start(config(&[("silence_max", "10s")]));
    let agent = super::plan("a", 2).join(&relay.entrance()).await;
    check(&relay, &agent).await;
}

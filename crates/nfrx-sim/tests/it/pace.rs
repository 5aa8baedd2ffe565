//! Tokens leave when they are due, and none after a stall: on an in-memory pipe, under a paused clock.

use std::time::Duration;

use nfrx_sim::{SimConfig, SimHandle};
use serde_json::{Value, json};
use tokio::io::duplex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::world::{Client, chat, chat_stream, next_text};

const CHAT: &str = "/v1/chat/completions";

/// A client of `sim`, and what serves it.
async fn connect(sim: &SimHandle) -> (Client, JoinSet<()>) {
    let (near, far) = duplex(64 << 10);
    let (sim, mut server) = (sim.clone(), JoinSet::new());
    server.spawn(async move { drop(sim.serve_connection(far).await) });
    (Client::over(near).await, server)
}

/// When each piece of the answer came, in milliseconds; the timer rounds up to one.
async fn arrivals(config: SimConfig, body: &Value) -> Vec<u128> {
    let (mut client, _server) = connect(&SimHandle::new(config)).await;
    let begin = Instant::now();
    let mut body = client.post(CHAT, body).await.into_body();
    let mut arrivals = Vec::new();
    while let Some(text) = next_text(&mut body).await {
        text.unwrap();
        arrivals.push((begin.elapsed() + Duration::from_micros(500)).as_millis());
    }
    arrivals
}

fn slow() -> SimConfig {
    let first_token_delay = Duration::from_millis(300);
    SimConfig { tokens_per_second: 4.0, first_token_delay, answer_tokens: 4, ..SimConfig::default() }
}

#[track_caller]
fn check(arrivals: &[u128], expected: &[u128]) {
    let close = arrivals.iter().zip(expected).all(|(at, expected)| at.abs_diff(*expected) <= 1);
    assert!(arrivals.len() == expected.len() && close, "{arrivals:?}, expected {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_starts_with_its_first_token_and_keeps_its_rate() {
    // Role and first token; then one a quarter second; the end comes with the last.
    let expected = [300, 300, 550, 800, 1050, 1050, 1050];
    check(&arrivals(slow(), &chat_stream(json!({}))).await, &expected);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_comes_when_its_last_token_is_due() {
    check(&arrivals(slow(), &chat(json!({}))).await, &[1050]);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_set_its_own_pace() {
    let members = json!({"x_sim_first_token_ms": 10, "x_sim_tokens_per_second": 100});
    check(&arrivals(slow(), &chat_stream(members)).await, &[10, 10, 20, 30, 40, 40, 40]);
}

#[tokio::test(start_paused = true)]
async fn an_odd_rate_does_not_drift() {
    let config = SimConfig { tokens_per_second: 7.0, answer_tokens: 701, ..SimConfig::default() };
    let arrivals = arrivals(config, &chat_stream(json!({}))).await;
    // Seen to fail: with the distance of two tokens rounded to milliseconds.
    check(&arrivals[arrivals.len() - 1..], &[100_000]);
}

async fn check_stall(config: SimConfig, body: Value, tokens: usize) {
    let sim = SimHandle::new(config);
    let (mut client, _server) = connect(&sim).await;
    let mut body = client.post(CHAT, &body).await.into_body();
    let mut seen = String::new();
    // The paused clock moves on only when nothing else is left to do.
    while let Ok(text) = timeout(Duration::from_secs(3600), next_text(&mut body)).await {
        seen += &text.expect("a stalled answer has no end").unwrap();
    }
    // Seen to fail: with the stall one token late.
    assert_eq!((seen.matches(r#""delta":{"content""#).count(), sim.in_flight()), (tokens, 1));
    drop((body, client));
    sim.wait_until(|stats| stats.cancelled == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_stall_comes_after_exactly_the_tokens_asked_for() {
    let body = chat_stream(json!({"x_sim_stall_after": 3}));
    check_stall(SimConfig::default(), body.clone(), 3).await;
    check_stall(slow(), body, 3).await;
}

#[tokio::test(start_paused = true)]
async fn the_stall_rate_stops_answers_half_way() {
    let config = SimConfig { stall_rate: 1.0, answer_tokens: 8, ..SimConfig::default() };
    check_stall(config, chat_stream(json!({})), 4).await;
}

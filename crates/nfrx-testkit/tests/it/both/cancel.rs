//! A client that leaves: its request ends everywhere, at once, in every phase.

use std::time::Duration;

use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{Relay, TestAgent, config, patiently};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ask::{chat, open, piece};

/// What a cancel may take.
const CANCEL_MAX: Duration = Duration::from_millis(50);

async fn start(max_concurrency: u32) -> (Relay, TestAgent) {
    let relay = Relay::start(config(&[]));
    let agent = super::plan("a", max_concurrency).join(&relay.entrance()).await;
    (relay, agent)
}

/// Sends in a task; dropping it hangs up.
fn sending(mut client: HttpClient, members: &Value) -> JoinSet<()> {
    let (request, mut task) = (chat(members), JoinSet::new());
    task.spawn(async move { drop(client.ask(request).await) });
    task
}

/// Hangs up and measures how long the backend takes to learn of it.
async fn check<T>(agent: &TestAgent, client: T) {
    patiently(agent.sim().wait_until(|stats| stats.in_flight == 1)).await;
    let start = Instant::now();
    drop(client);
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 1)).await;
    assert!(start.elapsed() < CANCEL_MAX, "cancelled after {:?}", start.elapsed());
}

// Seen to fail: when a call in the tunnel does not watch whether its caller is there.
#[tokio::test(start_paused = true)]
async fn leaving_before_the_first_byte_reaches_the_backend() {
    let (relay, agent) = start(2).await;
    let client = sending(relay.client().await, &json!({ "stream": true, "x_sim_first_token_ms": 60_000 }));
    check(&agent, client).await;
}

// Seen to fail: when a call in the tunnel does not watch whether its caller is there.
#[tokio::test(start_paused = true)]
async fn leaving_a_plain_request_reaches_the_backend() {
    let (relay, agent) = start(2).await;
    let client = sending(relay.client().await, &json!({ "x_sim_tokens": 600, "x_sim_tokens_per_second": 1 }));
    check(&agent, client).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_a_stream_reaches_the_backend_between_two_tokens() {
    let (relay, agent) = start(2).await;
    let mut client = relay.client().await;
    let members = json!({ "stream": true, "x_sim_tokens": 600, "x_sim_tokens_per_second": 1 });
    let mut body = open(&mut client, chat(&members)).await;
    piece(&mut body).await.expect("more").expect("a good one");
    check(&agent, (client, body)).await;
}

// Seen to fail: without queue events.
#[tokio::test(start_paused = true)]
async fn leaving_the_queue_frees_the_place_there() {
    let (relay, agent) = start(1).await;
    let members = json!({ "stream": true, "x_sim_tokens": 600, "x_sim_tokens_per_second": 1 });
    let mut running = relay.client().await;
    let _running_body = open(&mut running, chat(&members)).await;
    let plain = sending(relay.client().await, &json!({}));
    relay.until(|llm| llm["server"]["scheduler_queue_len"] == 1).await;
    let mut behind = relay.client().await;
    let mut waiting = open(&mut behind, chat(&members)).await;
    assert_eq!(place(&mut waiting).await, 2);
    drop(plain);
    tokio::time::sleep(CANCEL_MAX - Duration::from_millis(1)).await;
    let mut newcomer = relay.client().await;
    let mut waiting_too = open(&mut newcomer, chat(&members)).await;
    assert_eq!(place(&mut waiting_too).await, 2, "the one that left is still counted");
    assert_eq!(agent.sim().started(), 1);
}

/// The place that the next queue event tells.
async fn place(body: &mut hyper::body::Incoming) -> u64 {
    let event = piece(body).await.expect("more").expect("a good one");
    let text = String::from_utf8(event.to_vec()).expect("text");
    let data = text.trim().strip_prefix("event: nfrx.queue\ndata: ").expect("a queue event");
    let event: Value = serde_json::from_str(data).expect("JSON");
    event["position"].as_u64().expect("a number")
}

//! Waiting for a slot: in order, told about it, and never over a worker's limit.

use http::StatusCode;
use nfrx_testkit::relay::{Relay, TestAgent, config, patiently};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ask::{CHAT, chat, chat_at, open, piece, rest};

/// The numbers of the requests that an agent's backend got, in their order.
fn numbers(agent: &TestAgent) -> Vec<u64> {
    let requests = agent.sim().requests();
    let number = |path: &str| path.split_once("?n=").and_then(|(_, number)| number.parse().ok());
    requests.iter().filter_map(|request| number(&request.path)).collect()
}

/// Waits until both backends together have `count` requests.
async fn at_work(one: &TestAgent, two: &TestAgent, count: u64) {
    let (mut at_one, mut at_two) = (one.sim().changes(), two.sim().changes());
    while one.sim().in_flight() + two.sim().in_flight() < count {
        tokio::select! {
            changed = at_one.changed() => changed.expect("the backend is ours"),
            changed = at_two.changed() => changed.expect("the backend is ours"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_on_four_slots_are_served_in_order_of_arrival() {
    let relay = Relay::start(config(&[]));
    let one = super::plan("one", 2).join(&relay.entrance()).await;
    let two = super::plan("two", 2).join(&relay.entrance()).await;
    relay.until(|llm| llm["workers"].as_array().is_some_and(|workers| workers.len() == 2)).await;
    let mut clients = JoinSet::new();
    for number in 0..100_u64 {
        // Five clients, to the server, are any number of connections.
        let mut client = relay.client().await;
        let request =
            chat_at(&format!("{CHAT}?n={number}"), &json!({ "stream": true, "x_sim_first_token_ms": 1000 }));
        let (opened, is_open) = oneshot::channel();
        clients.spawn(async move {
            let mut body = open(&mut client, request).await;
            let _ = opened.send(());
            let (text, clean) = rest(&mut body).await;
            assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
            (number, Instant::now())
        });
        if number < 4 {
            patiently(at_work(&one, &two, number + 1)).await;
        } else {
            // The head comes with the first queue event.
            patiently(is_open).await.expect("the client is there");
        }
    }
    let mut ends = patiently(clients.join_all()).await;
    ends.sort_unstable();
    assert!(ends.is_sorted_by_key(|(_, end)| *end), "somebody was overtaken: {ends:?}");
    for agent in [&one, &two] {
        assert_eq!(agent.sim().in_flight_max(), 2);
        assert!(numbers(agent).is_sorted(), "{:?}", numbers(agent));
    }
    assert_eq!(one.sim().finished() + two.sim().finished(), 100);
}

// Seen to fail: without queue events.
#[tokio::test(start_paused = true)]
async fn a_waiting_stream_is_told_its_place_and_then_gets_its_answer() {
    let relay = Relay::start(config(&[("queue_update_seconds", "2")]));
    let agent = super::plan("a", 1).join(&relay.entrance()).await;
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let members = json!({ "stream": true, "x_sim_tokens": 51, "x_sim_tokens_per_second": 10 });
    let _running = open(&mut first, chat(&members)).await;
    let mut waiting = open(&mut second, chat(&json!({ "stream": true }))).await;
    let event = piece(&mut waiting).await.expect("more").expect("a good one");
    let event = String::from_utf8(event.to_vec()).expect("text");
    assert!(event.starts_with("event: nfrx.queue\ndata: {") && event.contains("\"position\":1"), "{event}");
    let (text, clean) = rest(&mut waiting).await;
    assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    // At once, after two and after four seconds.
    assert_eq!(text.matches("event: nfrx.queue").count(), 2, "{text}");
    assert_eq!(agent.sim().in_flight_max(), 1);
}

// Seen to fail: when an error status is passed on as if it were a stream.
#[tokio::test(start_paused = true)]
async fn an_error_after_a_queue_event_is_an_error_event() {
    let relay = Relay::start(config(&[]));
    let _agent = super::plan("a", 1).join(&relay.entrance()).await;
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let members = json!({ "stream": true, "x_sim_tokens": 20, "x_sim_tokens_per_second": 10 });
    let _running = open(&mut first, chat(&members)).await;
    let mut waiting = open(&mut second, chat(&json!({ "stream": true, "x_sim_status": 418 }))).await;
    let (text, clean) = rest(&mut waiting).await;
    let (_, error) = text.split_once("event: error\ndata: ").expect("an error event");
    let error: serde_json::Value = serde_json::from_str(error.trim()).expect("one line of JSON");
    assert!(clean && error["error"]["status"] == 418, "{text}");
}

// Seen to fail: with one more slot than the worker offers.
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_when_to_come_back() {
    let relay = Relay::start(config(&[("queue_size", "1")]));
    let _agent = super::plan("a", 1).join(&relay.entrance()).await;
    let mut clients = [relay.client().await, relay.client().await];
    let members = json!({ "stream": true, "x_sim_tokens": 20, "x_sim_tokens_per_second": 10 });
    let mut bodies = Vec::new();
    for client in &mut clients {
        bodies.push(open(client, chat(&members)).await);
    }
    let answer = relay.ask(chat(&members)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.text(), r#"{"error":"worker_busy"}"#);
    let after = answer.head.headers()["retry-after"].to_str().expect("text").parse::<u32>();
    assert!(after.is_ok_and(|seconds| seconds > 0));
}

//! Worker protocol §2: one JSON object a message, text or binary.

use nfrx_conformance::worker::{Worker, find, registration};
use nfrx_conformance::{Heard, members};
use serde_json::json;

use crate::world::{chat, relay, while_asking};

#[tokio::test(start_paused = true)]
async fn binary_messages_are_read_like_text_and_the_server_says_text() {
    let relay = relay();
    let mut worker = Worker::connect(&relay, "llm").await;
    worker.socket.say_bytes(registration("a", &["m"], 1).to_string().as_bytes()).await;
    relay.until(|llm| find(llm, "a").is_some()).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        // Anything but text would fail in the script.
        let id = worker.request().await.id;
        let head = json!({ "type": "http_proxy_response_headers", "request_id": id, "status": 200 });
        worker.socket.say_bytes(head.to_string().as_bytes()).await;
        worker.chunk(&id, "{}").await;
        worker.end(&id).await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
}

#[tokio::test(start_paused = true)]
async fn fields_that_nobody_knows_are_ignored_and_gos_escapes_are_read() {
    let relay = relay();
    let mut worker = Worker::connect(&relay, "llm").await;
    let text = r#"{"future":[1],"type":"register","worker_id":"\u003ca\u0026b\u003e","models":["m"],
        "max_concurrency":1,"more":{"deep":null}}"#;
    worker.socket.say_text(text).await;
    relay.until(|llm| find(llm, "<a&b>").is_some()).await;
}

// A message's type stands first: parsers that look no further than the first member exist.
#[tokio::test(start_paused = true)]
async fn a_request_has_its_members_in_the_order_they_always_had() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for (stream, names) in [
        (true, &["type", "request_id", "method", "path", "headers", "stream", "body"][..]),
        (false, &["type", "request_id", "method", "path", "headers", "body"][..]),
    ] {
        let ((), request) =
            tokio::join!(async { drop(relay.ask(chat("m", &json!({ "stream": stream }))).await) }, async {
                let request = worker.request().await;
                worker.answer(&request.id, "{}").await;
                request
            });
        assert_eq!(members(&request.text), names);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_gets_its_pong() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    worker.socket.ping(b"are you there").await;
}

#[tokio::test(start_paused = true)]
async fn chunks_may_be_larger_than_those_of_old_agents() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let body = "x".repeat(3 * 1024 * 1024);
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, &body).await;
    })
    .await;
    assert!(answer.text() == body);
}

// KD-20, decision 6. Seen to fail: with the bound of the first message raised to that of others.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_closes_with_1009() {
    let relay = relay();
    let mut worker = Worker::connect(&relay, "llm").await;
    let mut first = registration("a", &["m"], 1);
    first["padding"] = json!("x".repeat(1024 * 1024));
    worker.socket.say(&first).await;
    assert!(matches!(worker.socket.end().await, Heard::Closed(1009, _)));
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    worker.socket.say(&json!({ "type": "heartbeat", "padding": "x".repeat(23 * 1024 * 1024) })).await;
    assert!(matches!(worker.socket.end().await, Heard::Closed(1009, _)));
    relay.until(|llm| find(llm, "a").is_none()).await;
}

//! Worker protocol §5 and §6: what can't be read, and how connections are closed.

use nfrx_conformance::Heard;
use nfrx_conformance::worker::{Worker, find};
use serde_json::json;

use crate::world::{chat, is_json, relay, while_asking};

#[tokio::test(start_paused = true)]
async fn a_first_message_that_is_no_registration_closes() {
    let relay = relay();
    for (message, code, reason) in [
        ("{", 1008, "expected register"),
        ("", 1008, "expected register"),
        ("[]", 1008, "expected register"),
        ("null", 1008, "expected register"),
        (r#"{"worker_id":"a"}"#, 1008, "expected register"),
        (r#"{"type":"heartbeat"}"#, 1008, "expected register"),
        (r#"{"type":"Register"}"#, 1008, "expected register"),
        (r#"{"type":7}"#, 1008, "expected register"),
        (r#"{"type":"register","max_concurrency":"many"}"#, 1011, "server error"),
        (r#"{"type":"register","worker_id":7}"#, 1011, "server error"),
        (r#"{"type":"register","worker_id":"a","models":"m"}"#, 1011, "server error"),
    ] {
        let mut worker = Worker::connect(&relay, "llm").await;
        worker.socket.say_text(message).await;
        assert_eq!(worker.socket.end().await, Heard::Closed(code, reason.to_owned()), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn later_messages_that_can_not_be_read_are_ignored() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for message in [
        "{",
        "",
        "null",
        "[1]",
        r#"{"type":"welcome"}"#,
        r#"{"type":"register","worker_id":"b"}"#,
        r#"{"type":"heartbeat","ts":"now"}"#,
        r#"{"type":"status_update","max_concurrency":"many"}"#,
        r#"{"type":"status_update","models":{"m":1}}"#,
        r#"{"type":"http_proxy_response_headers","request_id":7,"status":"200"}"#,
        r#"{"type":"http_proxy_response_chunk","data":7}"#,
        r#"{"type":"http_proxy_response_end","error":"oops"}"#,
        r#"{"type":null}"#,
    ] {
        worker.socket.say_text(message).await;
    }
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
    let llm = relay.until(|_| true).await;
    assert_eq!(llm["workers"].as_array().map(Vec::len), Some(1));
    assert_eq!(find(&llm, "a").expect("there")["max_concurrency"], 1);
}

// Such a message ends nothing: what is said of its request later still counts.
#[tokio::test(start_paused = true)]
async fn a_bad_message_of_an_answer_is_as_if_it_had_not_come() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        let bad = json!({ "type": "http_proxy_response_headers", "request_id": id, "status": "200" });
        worker.socket.say(&bad).await;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_closes_leaves_and_its_requests_fail() {
    let relay = relay();
    for close in [Some((1000, "drained")), Some((1011, "closing")), None] {
        let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
        let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
            worker.request().await;
            match close {
                Some((code, reason)) => worker.socket.close(code, reason).await,
                None => worker.pipe.cut(),
            }
        })
        .await;
        is_json(&answer, 502, "upstream_error");
        relay.until(|llm| find(llm, "a").is_none()).await;
    }
}

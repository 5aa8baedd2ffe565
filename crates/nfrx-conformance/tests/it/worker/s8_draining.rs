//! Worker protocol §8: a worker that drains.

use nfrx_conformance::worker::{Worker, find};
use nfrx_testkit::relay::patiently;
use serde_json::json;

use crate::world::{chat, is_json, relay, while_asking};

const DRAINING: &str = r#"{"type":"status_update","status":"draining","max_concurrency":0}"#;

#[tokio::test(start_paused = true)]
async fn what_it_has_goes_on_and_nothing_new_comes() {
    let relay = relay();
    let mut draining = Worker::llm(&relay, "a", &["m"], 2).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = draining.request().await.id;
        draining.socket.say_text(DRAINING).await;
        relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["status"] == "draining")).await;
        let mut other = Worker::llm(&relay, "b", &["m"], 1).await;
        let (second, ()) = while_asking(&relay, chat("m", &json!({})), async {
            let id = other.request().await.id;
            other.answer(&id, "{\"by\":\"b\"}").await;
        })
        .await;
        assert_eq!(second.text(), "{\"by\":\"b\"}");
        draining.answer(&id, "{\"by\":\"a\"}").await;
        draining.socket.close(1000, "drained").await;
    })
    .await;
    assert_eq!(answer.text(), "{\"by\":\"a\"}");
    relay.until(|llm| find(llm, "a").is_none()).await;
}

// KD-8: the request that met a drain on its way goes to another worker.
#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_too_late_is_tried_elsewhere() {
    let relay = relay();
    let mut draining = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let first = draining.request().await;
        let mut other = Worker::llm(&relay, "b", &["m"], 1).await;
        draining.head(&first.id, 503, &json!({ "Content-Type": "application/json" })).await;
        draining.fail(&first.id, "worker_draining").await;
        let second = patiently(other.request()).await;
        assert_eq!(second.body, first.body);
        assert_ne!(second.id, first.id);
        other.answer(&second.id, "{}").await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
}

#[tokio::test(start_paused = true)]
async fn with_nobody_else_a_late_request_fails() {
    let relay = relay();
    let mut draining = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = draining.request().await.id;
        draining.socket.say_text(r#"{"type":"status_update","models":[],"max_concurrency":0}"#).await;
        draining.head(&id, 503, &json!({ "Content-Type": "application/json" })).await;
        draining.fail(&id, "worker_draining").await;
    })
    .await;
    is_json(&answer, 502, "upstream_error");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_taken_back_brings_the_worker_back() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    worker.socket.say_text(DRAINING).await;
    relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["status"] == "draining")).await;
    worker.socket.say(&json!({ "type": "status_update", "status": "idle", "max_concurrency": 1 })).await;
    relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["status"] == "idle")).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

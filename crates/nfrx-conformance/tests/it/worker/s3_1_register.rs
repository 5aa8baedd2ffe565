//! Worker protocol §3.1 and §3.4: what a registration says, and where it shows.

use nfrx_conformance::Heard;
use nfrx_conformance::worker::{Worker, find};
use nfrx_testkit::http::get;
use nfrx_testkit::relay::API_KEY;
use serde_json::{Value, json};

use crate::world::{chat, relay, while_asking};

#[tokio::test(start_paused = true)]
async fn everything_in_it_shows_in_the_state() {
    let relay = relay();
    let registration = json!({
        "type": "register", "worker_id": "20260301101500", "worker_name": "den", "client_key": "",
        "models": ["qwen3:8b"], "max_concurrency": 2, "version": "v1.0.0", "build_sha": "0a1b2c3",
        "build_date": "2026-02-28T09:00:00Z",
        "agent_config": { "hostname": "den", "os_name": "debian", "os_version": "13",
            "backend_family": "ollama", "backend_version": "0.20.1", "embedding_batch_size": "16",
            "something_else": "x" },
    });
    let _worker = Worker::join(&relay, "llm", &registration).await;
    let llm = relay.until(|_| true).await;
    let worker = find(&llm, "20260301101500").expect("it is there");
    for (field, value) in [
        ("name", json!("den")),
        ("version", json!("v1.0.0")),
        ("build_sha", json!("0a1b2c3")),
        ("build_date", json!("2026-02-28T09:00:00Z")),
        ("max_concurrency", json!(2)),
        ("embedding_batch_size", json!(16)),
        ("status", json!("idle")),
        ("inflight", json!(0)),
        (
            "host_info",
            json!({ "hostname": "den", "os_name": "debian", "os_version": "13", "worker_version": "v1.0.0",
                "backend_version": "0.20.1", "backend_family": "ollama" }),
        ),
    ] {
        assert_eq!(worker[field], value, "{field}");
    }
    let models = relay.ask(get("/api/llm/v1/models", Some(API_KEY))).await.json();
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["owned_by"]),
        (&json!("qwen3:8b"), &json!("den"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_scheduled_at_once_and_told_nothing() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        // The first thing that it hears is a request.
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn without_models_or_with_null_it_serves_none() {
    let relay = relay();
    for (id, models) in [("a", Value::Null), ("b", json!([]))] {
        let message = json!({ "type": "register", "worker_id": id, "models": models, "max_concurrency": 1 });
        let _worker = Worker::join(&relay, "llm", &message).await;
        let models = relay.ask(get("/api/llm/v1/models", Some(API_KEY))).await;
        assert_eq!(models.text(), "{\"object\":\"list\",\"data\":[]}\n");
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_slots_it_is_connected_but_not_ready() {
    let relay = relay();
    let _worker = Worker::llm(&relay, "a", &["m"], 0).await;
    let llm = relay.until(|_| true).await;
    assert_eq!(find(&llm, "a").expect("there")["status"], "not_ready");
    assert_eq!(llm["workers_summary"]["not_ready"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_missing_is_the_start_of_the_id() {
    let relay = relay();
    for (id, name) in [("20260301101500", "20260301"), ("short", "short")] {
        let message = json!({ "type": "register", "worker_id": id, "models": [], "max_concurrency": 1 });
        let _worker = Worker::join(&relay, "llm", &message).await;
        let llm = relay.until(|_| true).await;
        assert_eq!(find(&llm, id).expect("there")["name"], name);
    }
}

// KD-22: the id is made by the server; KD-73: the name is the peer's whole address.
// Seen to fail: without the address as a name.
#[tokio::test(start_paused = true)]
async fn two_workers_without_an_id_do_not_collide() {
    let relay = relay();
    let (mut one, mut two) = (Worker::connect(&relay, "llm").await, Worker::connect(&relay, "llm").await);
    for worker in [&mut one, &mut two] {
        worker.socket.say(&json!({ "type": "register", "models": ["m"], "max_concurrency": 1 })).await;
    }
    let llm = relay.until(|llm| llm["workers"].as_array().is_some_and(|workers| workers.len() == 2)).await;
    for worker in llm["workers"].as_array().expect("a list") {
        assert_eq!(worker["name"], "127.0.0.1");
        assert!(worker["id"].as_str().is_some_and(|id| id.len() > 8), "{worker}");
    }
}

// KD-43. Seen to fail: without the limit of time.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_for_ten_seconds_is_told_that_a_registration_was_expected() {
    let relay = relay();
    let mut worker = Worker::connect(&relay, "llm").await;
    let start = tokio::time::Instant::now();
    assert_eq!(worker.socket.end().await, Heard::Closed(1008, "expected register".to_owned()));
    assert_eq!(start.elapsed().as_secs(), 10);
}

//! Worker protocol §3.2 to §3.4: heartbeats and updates.

use nfrx_conformance::worker::{Worker, find, registration};
use nfrx_testkit::relay::Relay;
use serde_json::{Value, json};

use crate::world::{chat, relay, while_asking};

async fn worker_in_state(relay: &Relay) -> Value {
    find(&relay.until(|_| true).await, "a").expect("it is there").clone()
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_brings_the_hosts_load_whatever_its_clock_says() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    assert!(worker_in_state(&relay).await.get("host_cpu_percent").is_none());
    let beat =
        json!({ "type": "heartbeat", "ts": -5, "host_cpu_percent": 12.5, "host_ram_used_percent": 43.75 });
    worker.socket.say(&beat).await;
    relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["host_cpu_percent"] == 12.5)).await;
    assert_eq!(worker_in_state(&relay).await["host_ram_used_percent"], 43.75);
    // At 0 both are left out.
    worker.socket.say(&json!({ "type": "heartbeat", "ts": 1 })).await;
    relay.until(|llm| find(llm, "a").is_some_and(|worker| worker.get("host_cpu_percent").is_none())).await;
}

#[tokio::test(start_paused = true)]
async fn the_concurrency_is_always_applied_and_a_missing_one_is_none() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for (update, slots, status) in [
        (json!({ "type": "status_update", "max_concurrency": 7 }), 7, "idle"),
        (json!({ "type": "status_update", "status": "idle" }), 0, "not_ready"),
        (json!({ "type": "status_update", "status": "draining", "max_concurrency": 3 }), 3, ""),
    ] {
        worker.socket.say(&update).await;
        let llm =
            relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["max_concurrency"] == slots)).await;
        let found = &find(&llm, "a").expect("there")["status"];
        assert!(status.is_empty() || found == status, "{update}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_kept_cleared_or_replaced() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m", "n"], 1).await;
    for (nth, (models, listed)) in [
        (None, vec!["m", "n"]),
        (Some(Value::Null), vec!["m", "n"]),
        (Some(json!(["x"])), vec!["x"]),
        (Some(json!([])), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let slots = nth + 2;
        let mut update = json!({ "type": "status_update", "max_concurrency": slots });
        if let Some(models) = models {
            update["models"] = models;
        }
        worker.socket.say(&update).await;
        let llm =
            relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["max_concurrency"] == slots)).await;
        let names: Vec<&str> = llm["models"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|model| model["name"].as_str())
            .collect();
        assert_eq!(names, listed, "{update}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_only_the_facts_it_has_but_resets_the_batch_size() {
    let relay = relay();
    let mut first = registration("a", &["m"], 1);
    first["agent_config"] = json!({ "hostname": "den", "os_name": "debian", "backend_family": "ollama", "embedding_batch_size": "16" });
    let mut worker = Worker::join(&relay, "llm", &first).await;
    let update = json!({ "type": "status_update", "max_concurrency": 2,
        "agent_config": { "os_name": "", "backend_family": "llama.cpp", "embedding_batch_size": "4" } });
    worker.socket.say(&update).await;
    relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["embedding_batch_size"] == 4)).await;
    let facts = worker_in_state(&relay).await["host_info"].clone();
    assert_eq!(facts, json!({ "hostname": "den", "os_name": "debian", "backend_family": "llama.cpp" }));
    for config in [json!({ "embedding_batch_size": "many" }), json!({ "hostname": "den" })] {
        let sized = json!({ "type": "status_update", "max_concurrency": 2,
            "agent_config": { "embedding_batch_size": "4" } });
        worker.socket.say(&sized).await;
        relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["embedding_batch_size"] == 4)).await;
        let update = json!({ "type": "status_update", "max_concurrency": 2, "agent_config": config });
        worker.socket.say(&update).await;
        relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["embedding_batch_size"] == 0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_go_on_when_the_slots_are_withdrawn() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let (answer, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.socket.say(&json!({ "type": "status_update", "max_concurrency": 0 })).await;
        relay.until(|llm| find(llm, "a").is_some_and(|worker| worker["max_concurrency"] == 0)).await;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "{}"));
}

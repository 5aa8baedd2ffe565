//! HTTP contract §4.5 and §4.6: lists of models, and routes that name a worker.

use nfrx_conformance::worker::{Worker, find, registration};
use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, Relay};
use serde_json::{Value, json};

use crate::world::{chat_at, is_json, is_text, relay, request, while_asking};

async fn list(relay: &Relay, path: &str) -> Value {
    relay.ask(get(path, Some(API_KEY))).await.json()["data"].take()
}

#[tokio::test(start_paused = true)]
async fn the_list_is_the_union_by_id_with_the_sorted_names_of_owners() {
    let relay = relay();
    let named = |id: &str, name: &str, models: &[&str], slots| {
        let mut message = registration(id, models, slots);
        message["worker_name"] = json!(name);
        message
    };
    let _one = Worker::join(&relay, "llm", &named("1", "zeta", &["b", "a"], 1)).await;
    let _two = Worker::join(&relay, "llm", &named("2", "beta", &["b"], 1)).await;
    // The same name again, and without slots.
    let _three = Worker::join(&relay, "llm", &named("3", "beta", &["b"], 0)).await;
    let answer = relay.ask(get("/api/llm/v1/models", Some(API_KEY))).await;
    let text = answer.text();
    assert!(
        text.starts_with("{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"object\":\"model\",\"created\":"),
        "{text}"
    );
    assert!(text.ends_with("}]}\n"), "{text}");
    let data = &answer.json()["data"];
    let of = |nth: usize| {
        (data[nth]["id"].as_str().unwrap_or_default(), data[nth]["owned_by"].as_str().unwrap_or_default())
    };
    assert_eq!((of(0), of(1)), (("a", "zeta"), ("b", "beta,beta,zeta")));
    assert!(data[0]["created"].as_u64().is_some_and(|created| created > 1_600_000_000), "Unix seconds");
    let one = relay.ask(get("/api/llm/v1/models/b", Some(API_KEY))).await;
    assert_eq!(&one.json(), &data[1]);
    assert!(one.text().ends_with("}\n"));
}

#[tokio::test(start_paused = true)]
async fn created_stays_when_its_workers_leave() {
    let relay = relay();
    let created = async |relay: &Relay| list(relay, "/api/llm/v1/models").await[0]["created"].clone();
    let worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let first = created(&relay).await;
    drop(worker);
    relay.until(|llm| find(llm, "a").is_none()).await;
    let _again = Worker::llm(&relay, "b", &["m"], 1).await;
    assert_eq!(created(&relay).await, first);
}

// KD-32.
#[tokio::test(start_paused = true)]
async fn no_models_are_an_empty_list() {
    let relay = relay();
    for path in ["/api/llm/v1/models", "/api/asr/v1/models"] {
        assert_eq!(relay.ask(get(path, Some(API_KEY))).await.text(), "{\"object\":\"list\",\"data\":[]}\n");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_model_is_404_and_an_alias_is_none() {
    let relay = relay();
    let _worker = Worker::llm(&relay, "a", &["llama2:7b-q4_0"], 1).await;
    for path in ["/api/llm/v1/models/x", "/api/llm/v1/models/llama2:7b", "/api/llm/id/a/v1/models/x"] {
        let answer = relay.ask(get(path, Some(API_KEY))).await;
        assert_eq!(answer.text(), "{\"error\":\"model_not_found\"}\n", "{path}");
        assert_eq!(answer.status(), 404);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_there_is_404_on_all_its_routes_before_the_body_is_looked_at() {
    let relay = relay();
    for (method, path) in [
        ("GET", "models"),
        ("GET", "models/m"),
        ("POST", "chat/completions"),
        ("POST", "responses"),
        ("POST", "embeddings"),
    ] {
        let path = format!("/api/llm/id/nobody/v1/{path}");
        is_text(&relay.ask(request(method, &path, &[], "not json")).await, 404, "no worker");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_named_worker_is_in_view() {
    let relay = relay();
    let (mut a, _b) = (Worker::llm(&relay, "a", &["m"], 1).await, Worker::llm(&relay, "b", &["n"], 1).await);
    assert_eq!(list(&relay, "/api/llm/id/a/v1/models").await.as_array().map(Vec::len), Some(1));
    assert_eq!(list(&relay, "/api/llm/id/b/v1/models").await[0]["id"], "n");
    let ask = chat_at("/api/llm/id/a/v1/chat/completions", "m", &json!({}));
    let (answer, ()) = while_asking(&relay, ask, async {
        let id = a.request().await.id;
        a.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
    is_text(&relay.ask(chat_at("/api/llm/id/a/v1/responses", "n", &json!({}))).await, 404, "no worker");
    let embed = chat_at("/api/llm/id/a/v1/embeddings", "n", &json!({ "input": ["a"] }));
    is_json(&relay.ask(embed).await, 404, "no_worker");
}

// KD-4: the old one let it wait for ever.
#[tokio::test(start_paused = true)]
async fn an_alias_is_served_on_a_targeted_route_too() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["llama2:7b-q4_0"], 1).await;
    let ask = chat_at("/api/llm/id/a/v1/chat/completions", "llama2:7b", &json!({}));
    let (answer, ()) = while_asking(&relay, ask, async {
        let id = worker.request().await.id;
        worker.answer(&id, "{}").await;
    })
    .await;
    assert_eq!(answer.status(), 200);
}

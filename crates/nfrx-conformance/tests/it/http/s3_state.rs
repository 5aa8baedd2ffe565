//! HTTP contract §3 and metrics contract §3: the state.

use http_body_util::BodyExt as _;
use nfrx_conformance::members;
use nfrx_conformance::worker::{Worker, find};
use nfrx_testkit::relay::patiently;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{chat, header, relay, request, while_asking};

#[tokio::test(start_paused = true)]
async fn the_whole_state_is_one_line_with_sorted_plugins() {
    let answer = relay().ask(request("GET", "/api/state", &[], "")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "application/json"));
    let text = answer.text();
    assert!(text.starts_with("{\"plugins\":{") && text.ends_with("}\n") && text.matches('\n').count() == 1);
    // Among others that are served here.
    let mut ids = members(&text["{\"plugins\":".len()..text.len() - "}\n".len()]);
    assert!(ids.is_sorted(), "{ids:?}");
    ids.retain(|id| ["asr", "docling", "llm", "server"].contains(&id.as_str()));
    assert_eq!(ids.len(), 4);
}

// Old dashboards read these; members may be added beside them.
#[tokio::test(start_paused = true)]
async fn each_plugin_of_workers_has_every_member_that_it_always_had() {
    let relay = relay();
    let state = relay.ask(request("GET", "/api/state", &[], "")).await.json();
    for plugin in ["llm", "asr", "docling"] {
        let part = &state["plugins"][plugin];
        for (path, kind) in [
            ("/server/now", "string"),
            ("/server/version", "string"),
            ("/server/state", "string"),
            ("/server/uptime_s", "number"),
            ("/server/jobs_inflight_total", "number"),
            ("/server/jobs_completed_total", "number"),
            ("/server/jobs_failed_total", "number"),
            ("/server/scheduler_queue_len", "number"),
            ("/server/scheduler_queue_capacity", "number"),
            ("/workers_summary/connected", "number"),
            ("/workers_summary/working", "number"),
            ("/workers_summary/idle", "number"),
            ("/workers_summary/not_ready", "number"),
            ("/workers_summary/gone", "number"),
            ("/models", "array"),
            ("/workers", "array"),
        ] {
            is_a(part, path, kind);
        }
        let capacity = if plugin == "llm" { 100 } else { 0 };
        assert_eq!(part["server"]["scheduler_queue_capacity"], capacity, "{plugin}");
    }
    is_a(&state, "/plugins/server/drainable_inflight", "number");
}

#[track_caller]
fn is_a(value: &Value, path: &str, kind: &str) {
    let found = match value.pointer(path) {
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "number",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Null) => "null",
        None => "nothing",
    };
    assert_eq!(found, kind, "{path}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_every_member_that_it_always_had_and_they_move() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 2).await;
    while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        let llm = relay.until(|llm| llm["server"]["jobs_inflight_total"] == 1).await;
        assert_eq!(find(&llm, "a").expect("there")["status"], "working");
        assert_eq!(
            (&llm["workers_summary"]["working"], &llm["workers_summary"]["idle"]),
            (&json!(1), &json!(0))
        );
        worker.answer(&id, "{}").await;
    })
    .await;
    while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.fail(&id, "upstream_error").await;
    })
    .await;
    let llm = relay.until(|llm| llm["server"]["jobs_failed_total"] == 1).await;
    assert_eq!(llm["server"]["jobs_completed_total"], 1);
    // KD-27.
    assert_eq!((&llm["models"][0]["name"], &llm["models"][0]["workers"]), (&json!("m"), &json!(1)));
    let found = find(&llm, "a").expect("there");
    for (path, kind) in [
        ("/id", "string"),
        ("/name", "string"),
        ("/version", "string"),
        ("/host_info", "object"),
        ("/input_tokens_total", "number"),
        ("/output_tokens_total", "number"),
        ("/status", "string"),
        ("/connected_at", "string"),
        ("/last_heartbeat", "string"),
        ("/max_concurrency", "number"),
        ("/embedding_batch_size", "number"),
        ("/processed_total", "number"),
        ("/processing_ms_total", "number"),
        ("/avg_processing_ms", "number"),
        ("/inflight", "number"),
        ("/failures_total", "number"),
        ("/queue_len", "number"),
        ("/last_error", "string"),
    ] {
        is_a(found, path, kind);
    }
    for (member, value) in [("processed_total", 2), ("failures_total", 1), ("inflight", 0), ("queue_len", 0)]
    {
        assert_eq!(found[member], value, "{member}");
    }
    assert_eq!(found["status"], "idle");
    assert_eq!(found["last_error"], "upstream_error");
}

// KD-28.
#[tokio::test(start_paused = true)]
async fn the_stream_gives_a_snapshot_at_once_and_one_each_two_seconds() {
    let relay = relay();
    let mut client = relay.client().await;
    let start = Instant::now();
    let answer = patiently(client.send(request("GET", "/api/state/stream", &[], ""))).await.expect("a head");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    let mut body = answer.into_body();
    for seconds in [0, 2, 4] {
        let frame = patiently(body.frame()).await.expect("more").expect("a good one");
        let text = String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text");
        assert_eq!(start.elapsed().as_secs(), seconds);
        let json = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
        assert!(!json.contains('\n') && json.starts_with("{\"plugins\":{"), "{json}");
    }
}

#[tokio::test(start_paused = true)]
async fn views_are_html_or_204_and_need_their_suffix() {
    let relay = relay();
    for (path, status) in [
        ("/api/state/view/nope.html", 204),
        ("/api/state/view/llm", 404),
        ("/api/state/view/.html", 404),
        ("/api/state/view/", 404),
    ] {
        let answer = relay.ask(request("GET", path, &[], "")).await;
        assert_eq!(answer.status(), status, "{path}");
        assert!(status != 204 || answer.body.is_empty(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn descriptors_keep_their_capitals_and_name_every_plugin() {
    let answer = relay().ask(request("GET", "/api/state/descriptors", &[], "")).await;
    assert!(answer.text().ends_with("}\n"));
    let json = answer.json();
    for (id, name, summary) in [
        ("llm", "LLM Gateway", "OpenAI-compatible API over an agent pool"),
        ("asr", "ASR", "Audio transcription (worker-style)"),
        ("docling", "Docling", "Document conversion (worker-style)"),
    ] {
        let found = &json[id];
        assert_eq!(
            (&found["ID"], &found["Name"], &found["Summary"]),
            (&json!(id), &json!(name), &json!(summary))
        );
    }
    let arg = &json["llm"]["Args"][0];
    for member in ["ID", "Flag", "Env", "YAML", "Type", "Default", "Example", "Description", "Replacement"] {
        assert!(arg[member].is_string(), "{member}: {arg}");
    }
    for member in ["Deprecated", "Secret"] {
        assert!(arg[member].is_boolean(), "{member}: {arg}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugins_root_tells_what_it_is_and_how_it_is_set() {
    let relay = relay();
    for path in ["/api/llm", "/api/llm/"] {
        let answer = relay.ask(request("GET", path, &[], "")).await;
        assert!(answer.text().ends_with("}\n"));
        let json = answer.json();
        assert_eq!((&json["id"], &json["name"]), (&json!("llm"), &json!("LLM Gateway")));
        assert_eq!(json["options"]["queue_size"], "100");
        assert!(json["args"][0]["ID"].is_string(), "{json}");
    }
}

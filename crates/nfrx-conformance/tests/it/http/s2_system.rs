//! HTTP contract §2: health, metrics and the API's own description.

use nfrx_conformance::worker::Worker;
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::REMOTE;
use serde_json::json;

use crate::world::{chat, header, relay, request, while_asking};

#[tokio::test(start_paused = true)]
async fn health_is_ok_without_a_login_and_without_workers() {
    let relay = relay();
    let (mut remote, _) = relay.client_over(PipeOptions::default(), REMOTE).await;
    let mut ask = request("GET", "/healthz", &[], "");
    ask.headers_mut().remove("authorization");
    let answer = remote.ask(ask).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, r#"{"status":"ok"}"#));
    assert_eq!(header(&answer, "content-type"), "application/json");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_prometheus_text_with_the_contracts_names() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.answer(&id, r#"{"usage":{"prompt_tokens":3,"completion_tokens":5}}"#).await;
    })
    .await;
    relay.until(|llm| llm["server"]["jobs_completed_total"] == 1).await;
    let answer = relay.ask(request("GET", "/metrics", &[], "")).await;
    assert!(header(&answer, "content-type").starts_with("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let r = r#"ext="llm",plugin_type="worker",job_type="llm.completion",label="m""#;
    for line in [
        format!("nfrx_request_total{{{r}}} 1"),
        format!("nfrx_request_started_total{{{r}}} 1"),
        format!("nfrx_request_completed_total{{{r},success=\"true\",error_code=\"\"}} 1"),
        format!("nfrx_request_inflight{{{r}}} 0"),
        format!("nfrx_request_size_total{{{r},size_kind=\"tokens_in\"}} 3"),
        format!("nfrx_request_size_total{{{r},size_kind=\"tokens_out\"}} 5"),
        format!("nfrx_request_size_total{{{r},size_kind=\"tokens_total\"}} 8"),
        format!("nfrx_request_duration_seconds_count{{{r}}} 1"),
        "# TYPE nfrx_server_build_info gauge".to_owned(),
        "# TYPE nfrx_request_total counter".to_owned(),
        "# TYPE nfrx_request_duration_seconds histogram".to_owned(),
        "# TYPE nfrx_agent_jobs_inflight gauge".to_owned(),
        "nfrx_agent_jobs_total 1".to_owned(),
        "nfrx_agent_jobs_failed_total 0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
    assert!(text.contains("nfrx_server_build_info{component=\"server\",date="), "{text}");
}

// Metrics contract §1, KD-30: closed sets of codes, no label that a client can choose.
#[tokio::test(start_paused = true)]
async fn failures_are_counted_under_codes_and_unknown_models_under_no_name() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    for code in ["upstream_error", "dial tcp 10.0.0.5:11434: refused"] {
        while_asking(&relay, chat("m", &json!({})), async {
            let id = worker.request().await.id;
            worker.fail(&id, code).await;
        })
        .await;
    }
    while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        worker.head(&id, 500, &json!({})).await;
        worker.end(&id).await;
    })
    .await;
    relay.ask(chat("made-up-by-a-client", &json!({}))).await;
    relay.until(|llm| llm["server"]["jobs_inflight_total"] == 0).await;
    let text = relay.ask(request("GET", "/metrics", &[], "")).await.text();
    let r = r#"ext="llm",plugin_type="worker",job_type="llm.completion",label="m""#;
    for line in [
        format!("nfrx_request_completed_total{{{r},success=\"false\",error_code=\"upstream_error\"}} 2"),
        format!("nfrx_request_completed_total{{{r},success=\"false\",error_code=\"http_5xx\"}} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
    assert!(!text.contains("made-up-by-a-client") && !text.contains("10.0.0.5"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_api_describes_itself_to_everybody() {
    let relay = relay();
    let (mut remote, _) = relay.client_over(PipeOptions::default(), REMOTE).await;
    let mut ask = async |path: &str| {
        let mut ask = request("GET", path, &[], "");
        ask.headers_mut().remove("authorization");
        remote.ask(ask).await.expect("an answer")
    };
    let document = ask("/api/client/openapi.json").await;
    assert_eq!((document.status().as_u16(), header(&document, "content-type")), (200, "application/json"));
    let document = document.json();
    assert_eq!((&document["info"]["title"], &document["openapi"]), (&json!("nfrx API"), &json!("3.1.0")));
    // KD-35: what is served is described.
    for path in ["/healthz", "/api/state", "/api/state/stream", "/api/llm/v1/chat/completions"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    // One for each kind of key, where the old document had one for all.
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    assert!(
        !schemes.is_empty() && schemes.values().all(|scheme| scheme["scheme"] == "bearer"),
        "{schemes:?}"
    );
    for path in ["/api/client", "/api/client/", "/api/client/anything"] {
        let page = ask(path).await;
        assert_eq!(
            (page.status().as_u16(), header(&page, "content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        // KD-36: nothing from elsewhere.
        assert!(!page.text().contains("://"), "{path}:\n{}", page.text());
    }
    let page = ask("/state").await;
    assert_eq!((page.status().as_u16(), header(&page, "content-type")), (200, "text/html; charset=utf-8"));
}

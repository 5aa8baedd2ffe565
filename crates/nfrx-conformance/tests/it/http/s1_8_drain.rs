//! HTTP contract §1.8: a draining server.

use nfrx_conformance::Heard;
use nfrx_conformance::worker::Worker;
use nfrx_testkit::relay::patiently;
use serde_json::json;

use crate::world::{chat, is_json, relay, request, while_asking};

#[tokio::test(start_paused = true)]
async fn it_takes_nothing_new_and_finishes_what_it_has_also_what_waits() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let waiting = async {
        relay.until(|llm| llm["server"]["jobs_inflight_total"] == 1).await;
        relay.ask(chat("m", &json!({}))).await
    };
    let acting = async {
        let first = worker.request().await.id;
        relay.until(|llm| llm["server"]["scheduler_queue_len"] == 1).await;
        relay.stop();
        relay.until(|llm| llm["server"]["state"] == "draining").await;
        // Before the login, also for what is not there.
        for (method, path) in [
            ("POST", "/api/llm/v1/chat/completions"),
            ("GET", "/api/llm/v1/models"),
            ("GET", "/api/llm/v1/nope"),
            ("GET", "/api/llm/id/a/v1/models"),
            ("POST", "/api/asr/v1/audio/transcriptions"),
            ("POST", "/api/docling/v1/convert/file"),
        ] {
            let mut ask = request(method, path, &[], "");
            is_json(&relay.ask(ask.clone()).await, 503, "draining");
            ask.headers_mut().remove("authorization");
            is_json(&relay.ask(ask).await, 503, "draining");
        }
        for path in ["/healthz", "/metrics", "/state", "/api/state", "/api/llm", "/api/state/descriptors"] {
            assert_eq!(relay.ask(request("GET", path, &[], "")).await.status(), 200, "{path}");
        }
        let state = relay.ask(request("GET", "/api/state", &[], "")).await.json();
        assert_eq!(state["plugins"]["server"]["drainable_inflight"], 2, "the waiting one counts, too");
        worker.answer(&first, "{\"n\":1}").await;
        let second = worker.request().await.id;
        worker.answer(&second, "{\"n\":2}").await;
        // KD-62.
        assert_eq!(worker.socket.end().await, Heard::Closed(1001, "server shutting down".to_owned()));
    };
    let (first, (second, ())) = patiently(async {
        tokio::join!(relay.ask(chat("m", &json!({}))), async { tokio::join!(waiting, acting) })
    })
    .await;
    assert_eq!((first.text().as_str(), second.text().as_str()), ("{\"n\":1}", "{\"n\":2}"));
    relay.ended().await;
}

#[tokio::test(start_paused = true)]
async fn drainable_inflight_counts_requests_in_their_handlers_and_nothing_else() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let inflight = async || {
        let state = relay.ask(request("GET", "/api/state", &[], "")).await.json();
        state["plugins"]["server"]["drainable_inflight"].as_u64()
    };
    assert_eq!(inflight().await, Some(0), "neither this request nor the worker's socket");
    let (_, ()) = while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        relay.until(|llm| llm["server"]["jobs_inflight_total"] == 1).await;
        assert_eq!(inflight().await, Some(1));
        worker.answer(&id, "{}").await;
    })
    .await;
    relay.until(|llm| llm["server"]["jobs_inflight_total"] == 0).await;
    assert_eq!(inflight().await, Some(0));
}

//! HTTP contract §1.2: what is served where, and what is not.

use http::header::ALLOW;
use nfrx_server::PluginChoice;
use nfrx_testkit::http::Answer;
use nfrx_testkit::relay::{Relay, config};

use crate::world::{is_text, relay, request};

async fn ask(relay: &Relay, method: &str, path: &str) -> Answer {
    relay.ask(request(method, path, &[], "")).await
}

#[tokio::test(start_paused = true)]
async fn no_such_path_is_404_in_text() {
    let relay = relay();
    for path in [
        "/api/nope",
        "/api/llm/nope",
        "/api/llm/v1",
        "/api/llm/v1/nope",
        "/api/state/",
        "/api/state/nope",
        "/api/llm/v1/models/",
        "/api/llm/v1/chat/completions/",
        "/api/docling/v1/models",
        "/healthz/",
        "/API/llm/v1/models",
    ] {
        is_text(&ask(&relay, "GET", path).await, 404, "404 page not found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_off_is_not_there() {
    let mut config = config(&[]);
    config.plugins = PluginChoice::Named(vec!["llm".to_owned()]);
    let relay = Relay::start(config);
    for path in ["/api/asr", "/api/asr/v1/models", "/api/docling", "/api/docling/connect"] {
        is_text(&ask(&relay, "GET", path).await, 404, "404 page not found");
    }
    assert_eq!(ask(&relay, "GET", "/api/llm").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_plugins_root_alone_is_served_with_a_slash_too() {
    let relay = relay();
    for path in ["/api/llm", "/api/llm/", "/api/asr", "/api/asr/", "/api/docling/"] {
        assert_eq!(ask(&relay, "GET", path).await.status(), 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_is_405_with_allow_and_without_a_body() {
    let relay = relay();
    for (method, path, allow) in [
        ("GET", "/api/llm/v1/chat/completions", "POST"),
        ("PUT", "/api/llm/v1/responses", "POST"),
        ("DELETE", "/api/llm/v1/embeddings", "POST"),
        ("POST", "/api/llm/v1/models", "GET"),
        ("POST", "/api/llm/v1/models/m", "GET"),
        ("PATCH", "/api/llm/id/x/v1/chat/completions", "POST"),
        ("GET", "/api/asr/v1/audio/transcriptions", "POST"),
        ("GET", "/api/docling/v1/convert/file", "POST"),
        ("GET", "/api/docling/v1/convert/source", "POST"),
        ("POST", "/api/state", "GET"),
        ("POST", "/api/llm/connect", "GET"),
        ("POST", "/healthz", "GET"),
        // Neither is served, though both could be.
        ("HEAD", "/api/state", "GET"),
        ("HEAD", "/healthz", "GET"),
        ("OPTIONS", "/api/llm/v1/models", "GET"),
    ] {
        let answer = ask(&relay, method, path).await;
        assert_eq!((answer.status().as_u16(), answer.body.len()), (405, 0), "{method} {path}");
        let lines: Vec<_> = answer.head.headers().get_all(ALLOW).iter().collect();
        assert_eq!(lines, [allow], "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_http_does_not_know_is_405_without_allow() {
    let relay = relay();
    for path in ["/api/state", "/api/llm/v1/models", "/nope"] {
        let answer = ask(&relay, "BREW", path).await;
        assert_eq!((answer.status().as_u16(), answer.body.len()), (405, 0), "{path}");
        assert!(!answer.head.headers().contains_key(ALLOW), "{path}");
    }
}

// KD-31.
#[tokio::test(start_paused = true)]
async fn ids_in_paths_are_decoded() {
    let relay = relay();
    let message = nfrx_conformance::worker::registration("a b", &["org/m:7b"], 1);
    let _worker = nfrx_conformance::worker::Worker::join(&relay, "llm", &message).await;
    for path in [
        "/api/llm/v1/models/org/m:7b",
        "/api/llm/v1/models/org%2Fm%3A7b",
        "/api/llm/id/a%20b/v1/models/org/m:7b",
    ] {
        assert_eq!(ask(&relay, "GET", path).await.json()["id"], "org/m:7b", "{path}");
    }
}

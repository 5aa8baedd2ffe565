//! Conversions through the whole relay: the rows of HTTP contract §5.2.

use bytes::Bytes;
use http::{Request, StatusCode};
use nfrx_docling::DoclingFactory;
use nfrx_sim::upload_hash;
use nfrx_testkit::http::{Answer, get};
use nfrx_testkit::relay::{API_KEY, Kind, Relay, TestAgent, config, patiently, set_options};
use serde_json::json;
use tokio::task::JoinSet;

use crate::ask::comes_whole;
use crate::form::{CONVERT_FILE, CONVERT_SOURCE, file, form, upload_to, with};

async fn start(slots: u32) -> (Relay, TestAgent) {
    let relay = Relay::start(config(&[]));
    let agent = super::plan_of(Kind::Docling, "a", slots).join(&relay.entrance()).await;
    (relay, agent)
}

fn conversion() -> Request<Bytes> {
    upload_to(CONVERT_FILE, form(&[file("%PDF")]))
}

#[track_caller]
fn check(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (status, body));
}

#[tokio::test(start_paused = true)]
async fn both_conversions_reach_the_backend_byte_for_byte_whatever_their_type() {
    let (relay, agent) = start(1).await;
    let json = Bytes::from_static(br#"{"sources":[{"kind":"http","url":"http://x"}]}"#);
    for (path, kind, body) in [
        (CONVERT_FILE, None, form(&[file("%PDF")])),
        (CONVERT_SOURCE, Some("application/json"), json),
        (CONVERT_SOURCE, Some("x"), Bytes::new()),
    ] {
        let mut request = with(upload_to(&format!("{path}?x=1"), body.clone()), "x-sim-hash", "true");
        if let Some(kind) = kind {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        let answer = relay.ask(with(request, "cookie", "a=b")).await;
        assert_eq!((answer.status(), &answer.json()["status"]), (StatusCode::OK, &json!("success")));
        assert_eq!(answer.json()["x_sim_hash"], upload_hash(&body));
        assert!(!answer.head.headers().contains_key("cache-control"), "nothing is said of storing it");
        let seen = agent.sim().requests().pop().expect("it was asked");
        assert_eq!(seen.path, format!("{}?x=1", path.trim_start_matches("/api/docling")));
        assert!(!seen.headers.contains_key("authorization") && !seen.headers.contains_key("cookie"));
        assert_eq!(seen.headers["cache-control"], "no-store");
    }
}

// Seen to fail: with the error of other plugins it is 404.
#[tokio::test(start_paused = true)]
async fn without_a_worker_it_is_503_and_busy_is_something_else() {
    let relay = Relay::start(config(&[]));
    check(&relay.ask(conversion()).await, 503, "no worker\n");
    let agent = super::plan_of(Kind::Docling, "a", 1).join(&relay.entrance()).await;
    let (mut client, mut task) = (relay.client().await, JoinSet::new());
    let stalled = with(conversion(), "x-sim-stall-after", "0");
    task.spawn(async move { drop(client.ask(stalled).await) });
    patiently(agent.sim().wait_until(|stats| stats.in_flight == 1)).await;
    let busy = relay.ask(conversion()).await;
    check(&busy, 503, r#"{"error":"worker_busy"}"#);
    assert_eq!(busy.head.headers()["retry-after"], "1");
    drop(task);
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 1)).await;
    assert_eq!(relay.ask(conversion()).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn errors_pass_and_failures_are_502_or_break_the_answer() {
    let (relay, _agent) = start(1).await;
    assert_eq!(relay.ask(with(conversion(), "x-sim-status", "422")).await.status(), 422);
    let died = relay.ask(with(conversion(), "x-sim-die-after", "0")).await;
    check(&died, 502, r#"{"error":"upstream_error"}"#);
    let torn = with(conversion(), "x-sim-die-after", "1");
    assert!(!comes_whole(&mut relay.client().await, torn).await, "a broken answer must not look whole");
}

#[tokio::test(start_paused = true)]
async fn a_silent_converter_is_a_timeout() {
    let mut config = config(&[]);
    set_options(&mut config, &DoclingFactory, &[("silence_max", "200s")]);
    let relay = Relay::start(config);
    let agent = super::plan_of(Kind::Docling, "a", 1).join(&relay.entrance()).await;
    let silent = relay.ask(with(conversion(), "x-sim-stall-after", "0")).await;
    check(&silent, 504, r#"{"error":"timeout"}"#);
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 1)).await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_other_routes_and_none_without_a_key() {
    let (relay, _agent) = start(1).await;
    for path in ["/api/docling/v1/models", "/api/docling/v1/convert", "/api/docling/v1/convert/file/async"] {
        check(&relay.ask(get(path, Some(API_KEY))).await, 404, "404 page not found\n");
        check(&relay.ask(get(path, None)).await, 401, r#"{"error":"unauthorized"}"#);
    }
    assert_eq!(relay.ask(get(CONVERT_FILE, Some(API_KEY))).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let mut request = conversion();
    request.headers_mut().remove("authorization");
    check(&relay.ask(request).await, 401, r#"{"error":"unauthorized"}"#);
}

// KD-70.
#[tokio::test(start_paused = true)]
async fn the_plugins_root_tells_what_it_is_to_callers_with_a_key() {
    let (relay, _agent) = start(1).await;
    check(&relay.ask(get("/api/docling", None)).await, 401, r#"{"error":"unauthorized"}"#);
    let root = relay.ask(get("/api/docling", Some(API_KEY))).await;
    assert!(
        root.text().starts_with(
            r#"{"id":"docling","name":"Docling","summary":"Document conversion (worker-style)","#
        )
    );
    let metrics = relay.ask(get("/metrics", None)).await.text();
    assert!(!metrics.contains("docling.convert"), "nothing was converted yet");
    assert_eq!(relay.ask(conversion()).await.status(), StatusCode::OK);
    let metrics = relay.ask(get("/metrics", None)).await.text();
    let series = "nfrx_request_started_total{ext=\"docling\",plugin_type=\"worker\",job_type=\"docling.convert\",label=\"docling\"} 1\n";
    assert!(metrics.contains(series), "{metrics}");
}

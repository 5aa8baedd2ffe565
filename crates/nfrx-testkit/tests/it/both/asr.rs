//! Transcriptions through the whole relay: the table of HTTP contract §5.1, row by row.

use std::time::Duration;

use http::StatusCode;
use nfrx_asr::AsrFactory;
use nfrx_server::ServerConfig;
use nfrx_sim::{SimConfig, upload_hash};
use nfrx_testkit::http::{Answer, HttpClient, get};
use nfrx_testkit::relay::{API_KEY, Kind, Relay, TestAgent, config, patiently, set_options};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::ask::{comes_whole, rest};
use crate::form::{TRANSCRIPTIONS, field, file, form, transcription, upload_to, with};

fn asr_config(options: &[(&str, &str)]) -> ServerConfig {
    let mut config = config(&[]);
    set_options(&mut config, &AsrFactory, options);
    config
}

async fn start(slots: u32) -> (Relay, TestAgent) {
    let relay = Relay::start(asr_config(&[]));
    let agent = super::plan_of(Kind::Asr, "a", slots).join(&relay.entrance()).await;
    (relay, agent)
}

#[track_caller]
fn check(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (status, body));
}

/// Holds the only slot until it is dropped.
async fn occupy(relay: &Relay, agent: &TestAgent) -> JoinSet<()> {
    let (mut client, mut task) = (relay.client().await, JoinSet::new());
    let request = with(transcription("demo"), "x-sim-stall-after", "0");
    task.spawn(async move { drop(client.ask(request).await) });
    patiently(agent.sim().wait_until(|stats| stats.in_flight == 1)).await;
    task
}

#[tokio::test(start_paused = true)]
async fn models_are_listed_and_shown_as_those_of_llm_are() {
    let (relay, _agent) = start(1).await;
    let list = relay.ask(get("/api/asr/v1/models", Some(API_KEY))).await;
    assert!(list.text().starts_with(r#"{"object":"list","data":[{"id":"demo","object":"model","created":"#));
    assert!(list.text().ends_with("\"owned_by\":\"a\"}]}\n"), "{}", list.text());
    let shown = relay.ask(get("/api/asr/v1/models/demo", Some(API_KEY))).await;
    assert_eq!(shown.json(), list.json()["data"][0]);
    let unknown = relay.ask(get("/api/asr/v1/models/x", Some(API_KEY))).await;
    check(&unknown, 404, "{\"error\":\"model_not_found\"}\n");
    let llm = relay.ask(get("/api/llm/v1/models", Some(API_KEY))).await;
    check(&llm, 200, "{\"object\":\"list\",\"data\":[]}\n");
}

// Seen to fail: with the first piece of what was read ahead left out.
#[tokio::test(start_paused = true)]
async fn an_upload_reaches_the_backend_byte_for_byte_with_its_query() {
    let (relay, agent) = start(1).await;
    let (model, long) = (field("model", "demo"), file(&"RIFF\u{ff}\r\n--".repeat(30_000)));
    for parts in [
        [model.clone(), file("RIFF")],
        [file("RIFF"), model.clone()],
        [model.clone(), long.clone()],
        [long, model],
    ] {
        let body = form(&parts);
        let path = format!("{TRANSCRIPTIONS}?api-version=1");
        let answer = relay.ask(with(upload_to(&path, body.clone()), "x-sim-hash", "true")).await;
        assert_eq!(
            (answer.status(), &answer.head.headers()["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        assert_eq!(answer.json()["x_sim_hash"], upload_hash(&body));
        let seen = agent.sim().requests().pop().expect("it was asked");
        assert_eq!(seen.path, "/v1/audio/transcriptions?api-version=1");
        assert_eq!(seen.headers["content-length"], body.len().to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_a_clients_headers_go_along_but_those_that_are_for_the_relay() {
    let (relay, agent) = start(1).await;
    let mut request = transcription("demo");
    for (name, value) in [
        ("x-anything", "1"),
        ("accept", "text/vtt"),
        ("x-request-id", "r-1"),
        ("cookie", "session=1"),
        ("x-user-roles", "admin"),
        ("x-forwarded-for", "1.2.3.4"),
        ("te", "trailers"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ] {
        request = with(request, name, value);
    }
    assert_eq!(relay.ask(request).await.status(), StatusCode::OK);
    let seen = agent.sim().requests().pop().expect("it was asked").headers;
    for (name, value) in
        [("x-anything", "1"), ("accept", "text/vtt"), ("x-request-id", "r-1"), ("cache-control", "no-store")]
    {
        assert_eq!(seen[name], value, "{name}");
    }
    // Seen to fail: without the strip at both ends.
    for name in ["authorization", "cookie", "x-user-roles", "x-forwarded-for", "te", "x-hop"] {
        assert!(!seen.contains_key(name), "{name} reached the backend");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_form_is_a_bad_request() {
    let (relay, agent) = start(1).await;
    for kind in ["application/json", "text/plain", "Multipart/form-data; boundary=x", ""] {
        let mut request = transcription("demo");
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        check(&relay.ask(request).await, 400, "bad request\n");
    }
    assert_eq!(agent.sim().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_form_without_a_usable_model_is_told_so() {
    let (relay, agent) = start(1).await;
    for parts in [&[file("RIFF")][..], &[field("model", ""), file("RIFF")], &[]] {
        check(&relay.ask(upload_to(TRANSCRIPTIONS, form(parts))).await, 400, "no model\n");
    }
    for kind in
        ["multipart/form-data", "multipart/form-data; boundary=another", "multipart/form-data; boundary="]
    {
        let mut request = transcription("demo");
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        check(&relay.ask(request).await, 400, "no model\n");
    }
    let empty = upload_to(TRANSCRIPTIONS, bytes::Bytes::new());
    check(&relay.ask(empty).await, 400, "no model\n");
    assert_eq!(agent.sim().started(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_doubled_model_the_last_one_counts() {
    let (relay, _agent) = start(1).await;
    for parts in [
        [field("model", "nobody"), field("model", "demo"), file("RIFF")],
        [file("RIFF"), field("model", "nobody"), field("model", "demo")],
    ] {
        assert_eq!(relay.ask(upload_to(TRANSCRIPTIONS, form(&parts))).await.status(), StatusCode::OK);
    }
    let parts = [field("model", "demo"), field("model", "nobody"), file("RIFF")];
    check(&relay.ask(upload_to(TRANSCRIPTIONS, form(&parts))).await, 404, "no worker\n");
}

// Seen to fail: with a queue.
#[tokio::test(start_paused = true)]
async fn busy_is_not_unknown_and_nobody_waits() {
    let (relay, agent) = start(1).await;
    let occupied = occupy(&relay, &agent).await;
    let busy = relay.ask(transcription("demo")).await;
    check(&busy, 503, r#"{"error":"worker_busy"}"#);
    assert_eq!(busy.head.headers()["retry-after"], "1");
    check(&relay.ask(transcription("nobody")).await, 404, "no worker\n");
    drop(occupied);
    patiently(agent.sim().wait_until(|stats| stats.in_flight == 0)).await;
    assert_eq!(relay.ask(transcription("demo")).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_alias_will_do_unless_the_least_score_says_otherwise() {
    for (options, status) in [(&[][..], 200), (&[("min_score", "1")], 404)] {
        let relay = Relay::start(asr_config(options));
        let mut plan = super::plan_of(Kind::Asr, "a", 1);
        plan.sim = SimConfig { models: vec!["whisper:large-q5".to_owned()], ..SimConfig::default() };
        let _agent = plan.join(&relay.entrance()).await;
        assert_eq!(relay.ask(transcription("whisper:large-q8")).await.status(), status);
        assert_eq!(relay.ask(transcription("whisper:large-q5")).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_passes_as_it_comes_and_is_not_to_be_stored() {
    let (relay, _agent) = start(1).await;
    let parts = [field("model", "demo"), field("stream", "true"), file("RIFF")];
    let request = with(upload_to(TRANSCRIPTIONS, form(&parts)), "x-sim-tokens", "3");
    let mut client = relay.client().await;
    let answer = patiently(client.send(request)).await.expect("an answer");
    assert_eq!(
        (&answer.headers()["content-type"], &answer.headers()["cache-control"]),
        (&"text/event-stream".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let (text, clean) = rest(&mut answer.into_body()).await;
    assert!(clean && text.matches("transcript.text.delta").count() == 3, "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_backend_passes_and_a_failure_before_its_answer_is_502() {
    let (relay, agent) = start(1).await;
    let refused = relay.ask(with(transcription("demo"), "x-sim-status", "429")).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.json()["error"]["type"]),
        (429, &json!("rate_limit_error"))
    );
    // KD-14. Seen to fail: with another error for it.
    let died = relay.ask(with(transcription("demo"), "x-sim-die-after", "0")).await;
    check(&died, 502, r#"{"error":"upstream_error"}"#);
    let mut lost = relay.client().await;
    let stalled = with(transcription("demo"), "x-sim-stall-after", "0");
    let (answer, ()) = tokio::join!(patiently(lost.ask(stalled)), async {
        patiently(agent.sim().wait_until(|stats| stats.in_flight == 1)).await;
        agent.tunnel().cut();
    });
    check(&answer.expect("an answer"), 502, r#"{"error":"upstream_error"}"#);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let (relay, _agent) = start(1).await;
    let parts = [field("model", "demo"), field("stream", "true"), file("RIFF")];
    for request in [
        with(transcription("demo"), "x-sim-die-after", "1"),
        with(upload_to(TRANSCRIPTIONS, form(&parts)), "x-sim-die-after", "2"),
    ] {
        assert!(!comes_whole(&mut relay.client().await, request).await);
    }
}

async fn timed_out(relay: &Relay) -> Answer {
    relay.ask(with(transcription("demo"), "x-sim-stall-after", "0")).await
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_a_timeout_and_its_request_is_cancelled() {
    // The agent's limit on its backend, and the relay's on the request.
    let relay = Relay::start(asr_config(&[]));
    let mut plan = super::plan_of(Kind::Asr, "a", 1);
    plan.request_timeout = Some(Duration::from_secs(60));
    let agent = plan.join(&relay.entrance()).await;
    check(&timed_out(&relay).await, 504, r#"{"error":"timeout"}"#);
    assert_eq!(agent.sim().cancelled(), 1);
    let relay = Relay::start(asr_config(&[("silence_max", "200s")]));
    let agent = super::plan_of(Kind::Asr, "a", 1).join(&relay.entrance()).await;
    check(&timed_out(&relay).await, 504, r#"{"error":"timeout"}"#);
    patiently(agent.sim().wait_until(|stats| stats.cancelled == 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_lives_is_waited_for_longer_than_the_idle_limit() {
    let (relay, _agent) = start(1).await;
    let slow = with(transcription("demo"), "x-sim-first-token-ms", "400000");
    assert_eq!(relay.ask(slow).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_in_without_a_key_and_nothing_new_while_draining() {
    let (relay, agent) = start(2).await;
    let mut request = transcription("demo");
    request.headers_mut().remove("authorization");
    check(&relay.ask(request).await, 401, r#"{"error":"unauthorized"}"#);
    for path in ["/api/asr/v1/unknown", "/api/asr/v1/models/demo", "/api/asr"] {
        check(&relay.ask(get(path, None)).await, 401, r#"{"error":"unauthorized"}"#);
    }
    check(&relay.ask(get("/api/asr/v1/unknown", Some(API_KEY))).await, 404, "404 page not found\n");
    let _running = occupy(&relay, &agent).await;
    let mut late = relay.client().await;
    relay.stop();
    let draining = async |client: &mut HttpClient| patiently(client.ask(transcription("demo"))).await;
    // Whoever is connected is told, or the connection is closed already.
    if let Ok(answer) = draining(&mut late).await {
        check(&answer, 503, r#"{"error":"draining"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn the_root_serves_openais_clients_in_their_form_of_errors() {
    let (relay, _agent) = start(1).await;
    let root = "/v1/audio/transcriptions";
    let good = form(&[field("model", "demo"), file("RIFF")]);
    assert_eq!(relay.ask(upload_to(root, good)).await.status(), StatusCode::OK);
    let bad = relay.ask(upload_to(root, form(&[file("RIFF")]))).await;
    let error = &bad.json()["error"];
    assert_eq!((bad.status().as_u16(), &error["code"]), (400, &json!("bad_request")));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("`model`")), "{error}");
}

// KD-70.
#[tokio::test(start_paused = true)]
async fn the_plugins_root_tells_what_it_is_to_callers_with_a_key() {
    let (relay, _agent) = start(1).await;
    let root = relay.ask(get("/api/asr", Some(API_KEY))).await;
    assert!(root.text().starts_with(
        r#"{"id":"asr","name":"ASR","summary":"Audio transcription (worker-style)","args":[{"ID":"#
    ));
    assert_eq!(root.json()["options"]["min_score"], "0.01");
    assert_eq!(relay.ask(get("/api/asr/", Some(API_KEY))).await.text(), root.text());
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_under_their_own_job_type_and_known_models_only() {
    let (relay, _agent) = start(1).await;
    assert_eq!(relay.ask(transcription("demo")).await.status(), StatusCode::OK);
    assert_eq!(relay.ask(transcription("made-up")).await.status(), StatusCode::NOT_FOUND);
    let metrics = relay.ask(get("/metrics", None)).await.text();
    let of = |label: &str| {
        format!(
            "nfrx_request_total{{ext=\"asr\",plugin_type=\"worker\",job_type=\"asr.transcribe\",label=\"{label}\"}} 1\n"
        )
    };
    assert!(metrics.contains(&of("demo")) && metrics.contains(&of("unknown")), "{metrics}");
    assert!(!metrics.contains("made-up"));
    let state = relay.until_part("asr", |asr| asr["server"]["jobs_completed_total"] == 1).await;
    assert_eq!(state["server"]["state"], "ready");
    let models = state["models"].as_array().expect("a list");
    assert_eq!((models.len(), &models[0]["name"], &models[0]["workers"]), (1, &json!("demo"), &json!(1)));
    let worker: &Value = &state["workers"][0];
    assert_ne!(worker["version"], json!(""), "the agent tells its version (KD-42)");
}

// KD-41.
#[tokio::test(start_paused = true)]
async fn a_stopped_agent_finishes_what_it_has() {
    let (relay, agent) = start(2).await;
    let mut client = relay.client().await;
    let slow = with(transcription("demo"), "x-sim-first-token-ms", "5000");
    let stopping = async {
        patiently(agent.sim().wait_until(|stats| stats.in_flight == 1)).await;
        agent.stop().await
    };
    let (answer, stopped) = tokio::join!(patiently(client.ask(slow)), stopping);
    assert_eq!((answer.expect("an answer").status(), stopped), (StatusCode::OK, Ok(())));
    check(&relay.ask(transcription("demo")).await, 404, "no worker\n");
}

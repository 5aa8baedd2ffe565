//! HTTP contract §5.1: transcriptions.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use nfrx_testkit::http::get;
use nfrx_testkit::relay::{API_KEY, AgentPlan, Kind, config, patiently};

use super::CARRIER;
use crate::world::{World, header, is_json, is_text, read, request};

const PATH: &str = "/api/asr/v1/audio/transcriptions";
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

async fn world() -> World {
    World::new(CARRIER, Kind::Asr, 1, &["whisper-1"]).await
}

fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| field(name, value)).collect();
    format!(
        "{fields}--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n"
    )
}

fn upload(fields: &[(&str, &str)]) -> Request<Bytes> {
    request("POST", PATH, &[FORM], form(fields))
}

#[tokio::test(start_paused = true)]
async fn models_are_listed_like_those_of_llm() {
    let world = world().await;
    let list = world.relay.ask(get("/api/asr/v1/models", Some(API_KEY))).await;
    let item = &list.json()["data"][0];
    assert_eq!((item["id"].as_str(), item["owned_by"].as_str()), (Some("whisper-1"), Some("a")));
    let one = world.relay.ask(get("/api/asr/v1/models/whisper-1", Some(API_KEY))).await;
    assert_eq!(&one.json(), item);
    let none = world.relay.ask(get("/api/asr/v1/models/x", Some(API_KEY))).await;
    assert_eq!((none.status().as_u16(), none.text().as_str()), (404, "{\"error\":\"model_not_found\"}\n"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_form_with_a_model_is_400() {
    let world = world().await;
    let kind = |kind: &'static str| {
        request("POST", PATH, &[("content-type", kind)], form(&[("model", "whisper-1")]))
    };
    for wrong in
        ["application/json", "text/plain", "Multipart/form-data; boundary=b", "x multipart/form-data"]
    {
        is_text(&world.relay.ask(kind(wrong)).await, 400, "bad request");
    }
    is_text(&world.relay.ask(request("POST", PATH, &[], "")).await, 400, "bad request");
    is_text(&world.relay.ask(kind("multipart/form-data")).await, 400, "no model");
    is_text(&world.relay.ask(kind("multipart/form-data; boundary=other")).await, 400, "no model");
    for fields in [&[][..], &[("model", "")], &[("Model", "whisper-1")], &[("language", "en")]] {
        is_text(&world.relay.ask(upload(fields)).await, 400, "no model");
    }
}

#[tokio::test(start_paused = true)]
async fn the_model_is_not_trimmed_and_the_last_one_counts() {
    let mut world = world().await;
    is_text(&world.relay.ask(upload(&[("model", " whisper-1")])).await, 404, "no worker");
    let answer = world
        .answered(upload(&[("model", "x"), ("model", "whisper-1")]), |asked| asked.answer_json("{}"))
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_form_goes_unchanged_with_the_clients_headers_but_for_its_secrets() {
    let mut world = world().await;
    let headers = [
        FORM,
        ("accept", "text/vtt"),
        ("accept-encoding", "gzip, deflate"),
        ("x-anything", "1"),
        ("x-request-id", "r-1"),
        // KD-15.
        ("cookie", "a=b"),
        ("proxy-authorization", "Basic x"),
        ("x-user-roles", "ops"),
        ("x-forwarded-for", "1.2.3.4"),
    ];
    let body = form(&[("model", "whisper-1"), ("language", "de")]);
    let answer = world
        .answered(request("POST", PATH, &headers, body.clone()), |asked| {
            assert_eq!(
                (asked.path.as_str(), asked.body.as_ref()),
                ("/v1/audio/transcriptions", body.as_bytes())
            );
            for (name, value) in [
                FORM,
                ("accept", "text/vtt"),
                ("accept-encoding", "gzip, deflate"),
                ("x-anything", "1"),
                ("x-request-id", "r-1"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(asked.header(name), value, "{name}");
            }
            for name in ["authorization", "cookie", "proxy-authorization", "x-user-roles", "x-forwarded-for"]
            {
                assert_eq!(asked.header(name), "", "{name}");
            }
            asked.answer(201, &[("content-type", "text/vtt"), ("x-backend", "b")], "WEBVTT");
        })
        .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (201, "WEBVTT"));
    assert_eq!((header(&answer, "content-type"), header(&answer, "x-backend")), ("text/vtt", "b"));
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_is_not_to_be_stored() {
    let mut world = world().await;
    let answer = world
        .answered(upload(&[("model", "whisper-1"), ("stream", " true ")]), |asked| {
            asked.answer(200, &[("content-type", "text/event-stream")], "data: 1\n\n");
        })
        .await;
    assert_eq!(header(&answer, "cache-control"), "no-store");
}

// KD-16.
#[tokio::test(start_paused = true)]
async fn an_unknown_model_is_404_and_a_busy_one_503() {
    let mut world = world().await;
    is_text(&world.relay.ask(upload(&[("model", "x")])).await, 404, "no worker");
    let mut client = world.relay.client().await;
    let holding = client.send(upload(&[("model", "whisper-1")]));
    tokio::pin!(holding);
    let _asked = tokio::select! {
        asked = world.backend.asked() => asked,
        _ = &mut holding => panic!("nobody has answered"),
    };
    is_json(&world.relay.ask(upload(&[("model", "whisper-1")])).await, 503, "worker_busy");
}

// KD-14, KD-6.
#[tokio::test(start_paused = true)]
async fn a_failure_is_502_before_the_head_and_a_broken_answer_after() {
    let mut world = world().await;
    is_json(&world.answered(upload(&[("model", "whisper-1")]), drop).await, 502, "upstream_error");
    let (got, ()) = patiently(async {
        tokio::join!(read(&world.relay, upload(&[("model", "whisper-1")])), async {
            let answering = world.backend.asked().await.begin(200, &[("content-type", "application/json")]);
            answering.say("{\"text\":").await;
            answering.break_off().await;
        })
    })
    .await;
    assert!(!got.2, "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_backend_is_a_504() {
    let limit = Some(Duration::from_secs(30));
    let plan = AgentPlan { carrier: CARRIER, request_timeout: limit, ..AgentPlan::of(Kind::Asr, "a", 1) };
    let mut world = World::with(config(&[]), plan, &["whisper-1"]).await;
    let mut kept = Vec::new();
    let answer = world.answered(upload(&[("model", "whisper-1")]), |asked| kept.push(asked)).await;
    is_json(&answer, 504, "timeout");
}

//! HTTP contract §4.3: the queue, and what it tells.

use http_body_util::BodyExt as _;
use nfrx_conformance::backend::Asked;
use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{AgentPlan, Kind, config, patiently};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::CARRIER;
use crate::world::{World, chat, chat_at, is_json, is_text};

async fn world_with(options: &[(&str, &str)]) -> World {
    let plan = AgentPlan { carrier: CARRIER, ..AgentPlan::of(Kind::Llm, "a", 1) };
    World::with(config(options), plan, &["m"]).await
}

/// A request that holds the only slot until it is answered.
async fn occupy(world: &mut World) -> (Asked, JoinSet<()>) {
    let (mut client, mut task) = (world.relay.client().await, JoinSet::new());
    task.spawn(async move { drop(client.ask(chat("m", &json!({}))).await) });
    (world.backend.asked().await, task)
}

/// Sends a stream that has to wait, and reads its first queue event.
async fn wait(client: &mut HttpClient, model: &str) -> (http::Response<()>, hyper::body::Incoming, String) {
    let answer = patiently(client.send(chat(model, &json!({ "stream": true })))).await.expect("a head");
    let (head, mut body) = answer.into_parts();
    let event = next(&mut body).await;
    (http::Response::from_parts(head, ()), body, event)
}

async fn next(body: &mut hyper::body::Incoming) -> String {
    let frame = patiently(body.frame()).await.expect("more").expect("a good one");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
}

async fn rest(mut body: hyper::body::Incoming) -> String {
    let mut text = String::new();
    while let Some(frame) = patiently(body.frame()).await {
        text += &String::from_utf8_lossy(&frame.expect("a clean end").into_data().unwrap_or_default());
    }
    text
}

#[tokio::test(start_paused = true)]
async fn the_first_event_comes_at_once_as_an_event_stream_of_exactly_this_form() {
    let mut world = world_with(&[]).await;
    let (asked, _task) = occupy(&mut world).await;
    let mut client = world.relay.client().await;
    let (head, body, event) = wait(&mut client, "m").await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.headers()["cache-control"], "no-store");
    let data = event.strip_prefix("event: nfrx.queue\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data: Value = serde_json::from_str(data.expect("one event")).expect("one line of JSON");
    let id = data["request_id"].as_str().expect("an id");
    assert_eq!(
        event,
        format!(
            "event: nfrx.queue\ndata: {{\"type\":\"nfrx.queue\",\"request_id\":\"{id}\",\"model\":\"m\",\"position\":1}}\n\n"
        )
    );
    assert_eq!(id.len(), 36, "a UUID");
    // After the dispatch the backend's bytes follow on the same answer.
    asked.answer_json("{}");
    world.backend.asked().await.answer(200, &[("content-type", "text/event-stream")], "data: [DONE]\n\n");
    assert_eq!(rest(body).await, "data: [DONE]\n\n");
}

#[tokio::test(start_paused = true)]
async fn then_one_comes_each_queue_update_seconds_or_none() {
    for (seconds, expected) in [("2", 3), ("0", 1), ("-1", 1)] {
        let mut world = world_with(&[("queue_update_seconds", seconds)]).await;
        let (asked, _task) = occupy(&mut world).await;
        let mut client = world.relay.client().await;
        let (_, body, first) = wait(&mut client, "m").await;
        let (text, ()) = tokio::join!(rest(body), async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            asked.answer_json("{}");
            world.backend.asked().await.answer(200, &[], "data: 1\n\n");
        });
        assert_eq!((first + &text).matches("event: nfrx.queue\n").count(), expected, "every {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn positions_are_counted_from_one_over_all() {
    let mut world = world_with(&[]).await;
    let (_asked, _task) = occupy(&mut world).await;
    let mut waiting = Vec::new();
    for position in 1..=3 {
        let mut client = world.relay.client().await;
        let (_, body, event) = wait(&mut client, "m").await;
        assert!(event.ends_with(&format!("\"position\":{position}}}\n\n")), "{event}");
        waiting.push((client, body));
    }
    let llm = world.relay.until(|llm| llm["server"]["scheduler_queue_len"] == 3).await;
    assert_eq!(llm["server"]["scheduler_queue_capacity"], 100);
    // Whoever leaves is out, silently.
    drop(waiting);
    world.relay.until(|llm| llm["server"]["scheduler_queue_len"] == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_waits_silently_and_gets_the_true_status() {
    let mut world = world_with(&[]).await;
    let (asked, _task) = occupy(&mut world).await;
    let (answer, ()) = patiently(async {
        tokio::join!(world.relay.ask(chat("m", &json!({}))), async {
            world.relay.until(|llm| llm["server"]["scheduler_queue_len"] == 1).await;
            asked.answer_json("{}");
            world.backend.asked().await.answer(418, &[("x-backend", "b")], "short and stout");
        })
    })
    .await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (418, "short and stout"));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_or_with_a_full_one_busy_is_503() {
    for (size, waiting) in [("0", 0), ("-3", 0), ("1", 1)] {
        let mut world = world_with(&[("queue_size", size)]).await;
        let (_asked, _task) = occupy(&mut world).await;
        let mut kept = Vec::new();
        for _ in 0..waiting {
            let mut client = world.relay.client().await;
            kept.push((wait(&mut client, "m").await, client));
        }
        for stream in [true, false] {
            is_json(&world.relay.ask(chat("m", &json!({ "stream": stream }))).await, 503, "worker_busy");
        }
        // What nobody serves is not busy.
        is_text(&world.relay.ask(chat("x", &json!({}))).await, 404, "no worker");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_slots_still_counts_as_one_that_serves_its_models() {
    let world = world_with(&[]).await;
    let message = nfrx_conformance::worker::registration("b", &["later"], 0);
    let mut late = nfrx_conformance::worker::Worker::join(&world.relay, "llm", &message).await;
    let mut client = world.relay.client().await;
    let (_, body, event) = wait(&mut client, "later").await;
    assert!(event.contains("\"model\":\"later\""), "{event}");
    late.socket.say(&json!({ "type": "status_update", "max_concurrency": 1 })).await;
    let id = late.request().await.id;
    late.answer(&id, "data: 1\n\n").await;
    assert_eq!(rest(body).await, "data: 1\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_served_no_more_is_404_or_an_error_event() {
    let world = world_with(&[]).await;
    let message = nfrx_conformance::worker::registration("b", &["gone"], 0);
    let mut leaving = nfrx_conformance::worker::Worker::join(&world.relay, "llm", &message).await;
    let mut client = world.relay.client().await;
    let (_, body, _) = wait(&mut client, "gone").await;
    let (answer, ()) = patiently(async {
        tokio::join!(world.relay.ask(chat("gone", &json!({}))), async {
            world.relay.until(|llm| llm["server"]["scheduler_queue_len"] == 2).await;
            leaving.socket.say(&json!({ "type": "status_update", "max_concurrency": 0, "models": [] })).await;
        })
    })
    .await;
    is_text(&answer, 404, "no worker");
    // KD-7.
    let text = rest(body).await;
    assert!(text.starts_with("event: error\ndata: {") && text.contains("\"status\":404"), "{text}");
}

// Those whose model has no slot are passed over and hold up nobody.
#[tokio::test(start_paused = true)]
async fn first_is_who_can_be_served_now() {
    let mut world = world_with(&[]).await;
    let message = nfrx_conformance::worker::registration("b", &["other"], 0);
    let _other = nfrx_conformance::worker::Worker::join(&world.relay, "llm", &message).await;
    let (asked, _task) = occupy(&mut world).await;
    let mut clients = [world.relay.client().await, world.relay.client().await];
    let [first, second] = &mut clients;
    let (_, _blocked, _) = wait(first, "other").await;
    let (_, body, event) = wait(second, "m").await;
    assert!(event.contains("\"position\":2"), "{event}");
    asked.answer_json("{}");
    world.backend.asked().await.answer(200, &[], "data: 1\n\n");
    assert_eq!(rest(body).await, "data: 1\n\n");
}

#[tokio::test(start_paused = true)]
async fn targeted_requests_wait_in_the_same_queue_and_embeddings_do_not() {
    let mut world = world_with(&[]).await;
    let (asked, _task) = occupy(&mut world).await;
    is_json(
        &world.relay.ask(chat_at("/api/llm/v1/embeddings", "m", &json!({ "input": ["a", "b"] }))).await,
        503,
        "worker_busy",
    );
    is_json(&world.relay.ask(chat_at("/api/llm/v1/embeddings", "m", &json!({}))).await, 503, "worker_busy");
    let mut client = world.relay.client().await;
    let targeted = chat_at("/api/llm/id/a/v1/responses", "m", &json!({ "stream": true }));
    let mut body = patiently(client.send(targeted)).await.expect("a head").into_body();
    assert!(next(&mut body).await.contains("\"position\":1"));
    asked.answer_json("{}");
    world.backend.asked().await.answer(200, &[], "data: 1\n\n");
    assert_eq!(rest(body).await, "data: 1\n\n");
}

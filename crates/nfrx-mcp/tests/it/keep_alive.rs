//! Streams through long silence: comments between events, limits where there are some.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{Relay, patiently};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, McpAgent, POSTED, Plan, clock, config, listen, piece, post, relay, request};

struct Streaming {
    _relay: Relay,
    _agent: McpAgent,
    _client: HttpClient,
    feed: mpsc::Sender<Bytes>,
    body: Incoming,
}

/// An answer of these headers, begun.
async fn streaming(request: http::Request<Bytes>, headers: &[(&str, &str)]) -> Streaming {
    let (reply, feed) = Reply::fed(200, headers);
    let mut reply = Some(reply);
    let fake = Fake::new(move |_| reply.take().expect("asked once"));
    let (relay, agent) = clock(&fake).await;
    let mut client = relay.client().await;
    let body = patiently(client.send(request)).await.expect("an answer").into_body();
    Streaming { _relay: relay, _agent: agent, _client: client, feed, body }
}

const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];

async fn next(streaming: &mut Streaming) -> String {
    piece(&mut streaming.body).await.expect("more").expect("good")
}

// Seen to fail: with the stream under the limit of a call.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_for_seven_minutes_lives_and_shows_it_every_15_seconds() {
    let mut streaming = streaming(listen(), EVENTS).await;
    let start = Instant::now();
    assert_eq!((next(&mut streaming).await.as_str(), start.elapsed()), (":\n\n", Duration::ZERO));
    for n in 1..=28 {
        assert_eq!(next(&mut streaming).await, ":\n\n");
        assert_eq!(start.elapsed().as_secs(), 15 * n);
    }
    streaming.feed.send("data: here\n\n".into()).await.expect("it is read");
    assert_eq!(next(&mut streaming).await, "data: here\n\n");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_inside_an_event() {
    let mut streaming = streaming(post("{}"), EVENTS).await;
    assert_eq!(next(&mut streaming).await, ":\n\n");
    for part in ["data: a", "b\n", "data: c\n"] {
        streaming.feed.send(part.into()).await.expect("it is read");
        assert_eq!(next(&mut streaming).await, part);
        // Longer than the time between two comments.
        let silence = tokio::time::timeout(Duration::from_secs(40), piece(&mut streaming.body)).await;
        // Seen to fail: without the look at where the event ends.
        assert!(silence.is_err(), "{silence:?} after {part:?}");
    }
    streaming.feed.send("\n".into()).await.expect("it is read");
    assert_eq!(next(&mut streaming).await, "\n");
    assert_eq!(next(&mut streaming).await, ":\n\n");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_in_what_is_no_plain_stream_of_events() {
    for headers in [
        &[("content-type", "application/json")][..],
        &[("content-type", "text/event-stream"), ("content-encoding", "gzip")],
    ] {
        let mut streaming = streaming(post("{}"), headers).await;
        let silence = tokio::time::timeout(Duration::from_secs(60), piece(&mut streaming.body)).await;
        assert!(silence.is_err(), "{silence:?} in {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_takes_too_long_is_504_but_a_streams_head_may_wait() {
    let fake = Fake::new(|_| Reply::Never);
    let (relay, _agent) = clock(&fake).await;
    let start = Instant::now();
    let answer = relay.ask(post(r#"{"id":7,"method":"tools/call"}"#)).await;
    assert_eq!((answer.status().as_u16(), start.elapsed().as_secs()), (504, 120));
    assert_eq!(
        (&answer.json()["error"]["data"]["mcp"], &answer.json()["id"]),
        (&"MCP_TIMEOUT".into(), &7.into())
    );
    patiently(fake.until_cancelled(1)).await;
    let mut client = relay.client().await;
    let waiting = tokio::time::timeout(Duration::from_secs(500), client.send(listen())).await;
    assert!(waiting.is_err(), "the head of a GET may come with the first message");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_silence_ends_a_calls_stream_and_no_other() {
    for (request, ends) in [(post("{}"), true), (listen(), false)] {
        let (reply, feed) = Reply::events();
        let mut reply = Some(reply);
        let fake = Fake::new(move |_| reply.take().expect("asked once"));
        let relay = relay(config(&[("idle_max", "100s")]));
        let _agent = Plan::new("clock").join(&relay.entrance(), &fake).await;
        let mut client = relay.client().await;
        let mut body = patiently(client.send(request)).await.expect("an answer").into_body();
        let start = Instant::now();
        let broken = loop {
            match piece(&mut body).await {
                Some(Ok(_)) if start.elapsed().as_secs() < 200 => {}
                Some(Ok(_)) => break false,
                Some(Err(_)) => break true,
                None => panic!("a broken stream must not look whole"),
            }
        };
        assert_eq!(broken, ends);
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn listening_of_the_modern_era_lasts_like_a_get() {
    let headers: &[(&str, &str)] =
        &[("mcp-method", "subscriptions/listen"), ("mcp-protocol-version", "2026-07-28")];
    let request =
        request("POST", CLOCK, &[POSTED, headers].concat(), r#"{"id":1,"method":"subscriptions/listen"}"#);
    let mut streaming = streaming(request, EVENTS).await;
    for _ in 0..100 {
        assert_eq!(next(&mut streaming).await, ":\n\n");
    }
}

//! The end: refuse, wait, close; and the second signal.

use std::time::Duration;

use http_body_util::BodyExt as _;
use nfrx_server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::client::get;
use crate::world::{LOCAL, World, header, request, spawn};

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_what_is_new_and_lets_what_runs_end_well() {
    let world = World::new(ServerConfig::local());
    let mut streaming = world.client(LOCAL).await;
    let running = streaming.send(get("/api/fake/v1/stream", None)).await.expect("a head");
    world.stop();
    world.draining().await;
    let answer = world.ask(LOCAL, get("/api/fake/v1/seen/x", None)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (503, r#"{"error":"draining"}"#));
    assert!(!header(&answer, "retry-after").is_empty());
    let answer = world.ask("203.0.113.9:1", get("/api/fake/v1/nope", None)).await;
    assert_eq!(answer.status(), 503, "a draining server says so before it looks at keys");
    let connect = request("GET", "/api/fake/connect", &[("connection", "upgrade"), ("upgrade", "echo")], "");
    let answer = world.ask(LOCAL, connect).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (503, "draining\n"));
    assert_eq!(world.ask(LOCAL, get("/healthz", None)).await.status(), 200);
    let ready = world.ask(LOCAL, get("/readyz", None)).await;
    assert_eq!((ready.status().as_u16(), &ready.json()["plugins"]["fake"]), (503, &"draining".into()));
    let state = world.ask(LOCAL, get("/api/state", None)).await;
    assert_eq!(state.json()["plugins"]["server"]["drainable_inflight"], 1);
    world.wires.go.notify_waiters();
    let body = running.into_body().collect().await.expect("a whole answer").to_bytes();
    assert_eq!(body, "one two");
    let wires = world.ended().await;
    assert_eq!(*wires.hooks.borrow(), ["start", "drain", "stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_cuts_at_once() {
    let world = World::new(ServerConfig::local());
    let mut client = world.client(LOCAL).await;
    let asking = spawn(async move { client.ask(get("/api/fake/v1/slow", None)).await.is_err() });
    world.wires.held(1).await;
    let start = Instant::now();
    world.stop();
    world.draining().await;
    world.cut();
    // Seen to fail: without the cut this waits for the drain timeout.
    let wires = world.ended().await;
    assert!(asking.await.expect("no panic"), "the answer was cut");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((*wires.held.borrow(), wires.hooks.borrow().last()), (0, Some(&"stop")));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_bounded_unless_it_is_not() {
    for (timeout, expected) in [(Some(Duration::ZERO), 0), (Some(Duration::from_secs(20)), 20), (None, 600)] {
        let world = World::new(ServerConfig { drain_timeout: timeout, ..ServerConfig::local() });
        let mut client = world.client(LOCAL).await;
        let asking = spawn(async move { client.ask(get("/api/fake/v1/slow", None)).await.is_ok() });
        world.wires.held(1).await;
        let start = Instant::now();
        world.stop();
        world.draining().await;
        if timeout.is_none() {
            tokio::time::sleep(Duration::from_secs(600)).await;
            world.wires.go.notify_waiters();
        }
        world.ended().await;
        let took = start.elapsed().as_secs();
        // Connections have five seconds to close on top.
        assert!((expected..=expected + 6).contains(&took), "{timeout:?}: {took} s");
        assert_eq!(asking.await.expect("no panic"), timeout.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_and_state_streams_are_closed_in_order() {
    let world = World::new(ServerConfig::local());
    let mut idle = world.dial(LOCAL);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"status":"ok"}"#) {
        idle.read_buf(&mut answer).await.expect("an answer");
    }
    let mut watching = world.client(LOCAL).await;
    let stream = watching.send(get("/api/state/stream", None)).await.expect("a head");
    let start = Instant::now();
    world.stop();
    let body = stream.into_body().collect().await.expect("the stream ends well").to_bytes();
    assert!(body.starts_with(b"data: {") && body.ends_with(b"\n\n"));
    assert_eq!(idle.read(&mut [0; 8]).await.expect("a clean end"), 0);
    world.ended().await;
    assert!(start.elapsed() < Duration::from_secs(5), "nothing had to be cut");
}

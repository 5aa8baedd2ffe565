//! Many at once: calls and streams beside each other, slow readers, replicas.

use std::time::Duration;

use bytes::Bytes;
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{LOCAL, patiently};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, Plan, clock, config, header, listen, piece, post, relay, request, until_state};

#[tokio::test(start_paused = true)]
async fn a_hundred_sessions_listen_and_each_still_calls() {
    let mut open = Vec::new();
    let fake = Fake::new(move |seen| match seen.method.as_str() {
        "GET" => {
            let (reply, feed) = Reply::events();
            open.push(feed);
            reply
        }
        _ => Reply::json(seen.body.clone()),
    });
    let (relay, _agent) = clock(&fake).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut client = relay.client().await;
        let body = patiently(client.send(listen())).await.expect("an answer").into_body();
        streams.push((client, body));
    }
    // Seen to fail: with streams counted as calls.
    for n in 0..100 {
        let body = format!(r#"{{"id":{n},"method":"tools/call"}}"#);
        let answer = relay.ask(post(body.clone())).await;
        assert_eq!((answer.status().as_u16(), answer.text()), (200, body));
    }
    for (_, body) in &mut streams {
        assert_eq!(piece(body).await.expect("it lives").expect("good"), ":\n\n");
    }
    let state = until_state(&relay, |mcp| mcp["clients"][0]["inflight"] == 100).await;
    assert_eq!(state["clients"][0]["functions"]["GET"], 100);
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_limit_are_429_and_answers_to_the_server_still_pass() {
    let fake = Fake::new(|seen| match seen.body.windows(6).any(|part| part == b"result") {
        true => Reply::new(202, &[], ""),
        false => Reply::Never,
    });
    let relay = relay(config(&[("max_concurrency_per_client", "2")]));
    let _agent = Plan::new("clock").join(&relay.entrance(), &fake).await;
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let mut client = relay.client().await;
        calls.spawn(async move { drop(client.ask(post(r#"{"id":1,"method":"tools/call"}"#)).await) });
    }
    patiently(fake.until_seen(2)).await;
    let answer = relay.ask(post(r#"{"id":"x","method":"tools/call"}"#)).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, "1"));
    assert_eq!(
        (&answer.json()["error"]["data"]["mcp"], &answer.json()["id"]),
        (&"LIMIT_EXCEEDED".into(), &"x".into())
    );
    // Both calls may be waiting for just this. Seen to fail: with answers counted as calls.
    assert_eq!(relay.ask(post(r#"{"id":1,"result":{}}"#)).await.status(), 202);
    drop(calls);
    patiently(fake.until_cancelled(2)).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_reading_slows_nobody_and_is_cut() {
    let long = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    let fake = Fake::new(move |seen| match seen.target.ends_with("?long") {
        true => Reply::new(200, &[("content-type", "application/json")], long.clone()),
        false => Reply::json("{}"),
    });
    let (relay, _agent) = clock(&fake).await;
    let small = PipeOptions { capacity: 4096, ..PipeOptions::default() };
    let (mut slow, _) = relay.client_over(small, LOCAL).await;
    let mut unread = patiently(slow.send(request("POST", &format!("{CLOCK}?long"), &[], "{}")))
        .await
        .expect("an answer")
        .into_body();
    piece(&mut unread).await.expect("more").expect("good");
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(relay.ask(post("{}")).await.status(), 200);
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "somebody waited for the slow one");
    until_state(&relay, |mcp| mcp["clients"][0]["inflight"] == 0).await;
    assert!(start.elapsed() < Duration::from_secs(40), "cut after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn replicas_share_calls_and_each_keeps_its_sessions() {
    let replica = |name: &'static str| {
        Fake::new(move |seen| match seen.headers.get("mcp-session-id") {
            None if seen.body.windows(10).any(|part| part == b"initialize") => {
                Reply::new(200, &[("mcp-session-id", name), ("content-type", "application/json")], name)
            }
            Some(session) if session != name => Reply::new(404, &[], "not mine"),
            _ => Reply::json(name),
        })
    };
    let (one, two) = (replica("one"), replica("two"));
    let relay = relay(config(&[]));
    let plan = || Plan::new("clock").with("mcp_replicas", "true");
    let _first = plan().join(&relay.entrance(), &one).await;
    let second = plan().join(&relay.entrance(), &two).await;
    let mut opened = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let answer = relay.ask(post(r#"{"id":1,"method":"initialize"}"#)).await;
        let session = header(&answer, "mcp-session-id").to_owned();
        for _ in 0..4 {
            let answer = relay.ask(request("POST", CLOCK, &[("mcp-session-id", &session)], "{}")).await;
            // Seen to fail: without the memory of where a session was opened.
            assert_eq!((answer.status().as_u16(), answer.text()), (200, session.clone()));
        }
        opened.insert(session);
    }
    assert_eq!(opened.len(), 2, "both were given sessions");
    second.kill();
    let answer = relay.ask(request("POST", CLOCK, &[("mcp-session-id", "two")], "{}")).await;
    assert_eq!(answer.status(), 503, "the other replica does not know this session");
    assert_eq!(relay.ask(post("{}")).await.text(), "one");
}

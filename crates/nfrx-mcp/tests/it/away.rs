//! Agents that come and go, and what their clients see of it.

use std::time::Duration;

use bytes::Bytes;
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{LOCAL, Relay, patiently};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, Plan, clock, config, header, listen, piece, plugins, post, request, until_state};

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"tools/call","params":{"name":"now"}}"#;

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_ever_served_is_404_at_once() {
    let relay = crate::rig::relay(config(&[]));
    let start = Instant::now();
    let answer = relay.ask(post(CALL)).await;
    assert_eq!((answer.status().as_u16(), start.elapsed()), (404, Duration::ZERO));
    // A client that names a session would take it for the session's end.
    let named = [("mcp-session-id", "s-1")];
    assert_eq!(relay.ask(request("POST", CLOCK, &named, CALL)).await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_some_seconds_for_an_agent_that_is_away() {
    let fake = Fake::plain();
    let (relay, agent) = clock(&fake).await;
    agent.kill();
    let start = Instant::now();
    let answer = relay.ask(post(CALL)).await;
    assert_eq!((answer.status().as_u16(), start.elapsed().as_secs()), (503, 5));
    assert_eq!(header(&answer, "retry-after"), "5");
    // Seen to fail: with the id read as a number.
    let id = r#""id":12345678901234567890123,"jsonrpc":"2.0"}"#;
    assert!(answer.text().trim_end().ends_with(id), "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], -32000);
    let modern = [("mcp-method", "tools/call"), ("mcp-protocol-version", "2026-07-28")];
    let answer = relay.ask(request("POST", CLOCK, &modern, CALL)).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (503, "relay offline\n"));
    let (answer, _back) = tokio::join!(relay.ask(post(CALL)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Plan::new("clock").join(&relay.entrance(), &fake).await
    });
    assert_eq!((answer.status().as_u16(), fake.seen().len()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_agent_is_killed_is_answered_at_once_and_never_sent_again() {
    let fake = Fake::new(|_| Reply::Never);
    let (relay, agent) = clock(&fake).await;
    let mut client = relay.client().await;
    let mut asking = JoinSet::new();
    asking.spawn(async move { client.ask(post(CALL)).await });
    patiently(fake.until_seen(1)).await;
    let start = Instant::now();
    agent.kill();
    let answer =
        patiently(asking.join_next()).await.expect("it was asked").expect("no panic").expect("an answer");
    assert_eq!((answer.status().as_u16(), start.elapsed()), (502, Duration::ZERO));
    assert_eq!(answer.json()["error"]["data"]["mcp"], "MCP_UPSTREAM_ERROR");
    let _back = Plan::new("clock").join(&relay.entrance(), &fake).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_their_agent_and_a_session_goes_on_when_it_is_back() {
    let (reply, feed) = Reply::events();
    let mut reply = Some(reply);
    let fake = Fake::new(move |seen| match seen.headers.get("last-event-id") {
        None => reply.take().expect("asked once"),
        Some(id) => Reply::new(
            200,
            &[("content-type", "text/event-stream")],
            format!("data: after {}\n\n", id.to_str().expect("text")),
        ),
    });
    let (relay, agent) = clock(&fake).await;
    let mut client = relay.client().await;
    let mut body = patiently(client.send(listen())).await.expect("an answer").into_body();
    feed.send("id: 7\ndata: x\n\n".into()).await.expect("it is read");
    let text = crate::rig::read(&mut body, 10).await;
    assert!(text.contains("data: x"), "{text}");
    agent.tunnel().cut();
    let broken = loop {
        match piece(&mut body).await {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert!(broken.is_some_and(|piece| piece.is_err()), "a cut stream must not look whole");
    // The server has let go of the stream, or it would refuse another.
    patiently(fake.until_cancelled(1)).await;
    let resumed = request(
        "GET",
        CLOCK,
        &[("accept", "text/event-stream"), ("mcp-session-id", "s-1"), ("last-event-id", "7")],
        "",
    );
    let answer = relay.ask(resumed).await;
    assert_eq!((answer.status().as_u16(), answer.text().as_str()), (200, "data: after 7\n\n"));
    assert_eq!(agent.dialed(), 2);
    drop(feed);
}

// Seen to fail: without the ids in the state folder.
#[tokio::test(start_paused = true)]
async fn a_relay_that_was_restarted_knows_its_ids_and_waits_for_their_agents() {
    let folder = std::env::temp_dir().join(format!("nfrx-mcp-state-{}", std::process::id()));
    let mut ours = config(&[]);
    ours.state_dir = Some(folder.clone());
    let relay = crate::rig::relay(ours.clone());
    let fake = Fake::plain();
    let agent = Plan::new("clock").with("auth_token", "own").join(&relay.entrance(), &fake).await;
    assert_eq!(relay.ask(post("{}")).await.status(), 200);
    let entrance = relay.entrance();
    relay.stop();
    relay.ended().await;
    agent.kill();
    let relay = Relay::of(ours, plugins(), entrance);
    let (answer, stranger, own) = tokio::join!(
        relay.ask(post("{}")),
        relay.ask(request("POST", CLOCK, &[("authorization", "Bearer wrong")], "{}")),
        relay.ask(request("POST", CLOCK, &[("authorization", "Bearer own")], "{}")),
    );
    std::fs::remove_dir_all(&folder).expect("it was made");
    assert_eq!([answer, stranger, own].map(|answer| answer.status().as_u16()), [503, 401, 503]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_told_to_stop_finishes_its_calls_and_takes_no_more() {
    let (reply, feed) = Reply::fed(200, &[("content-type", "application/json")]);
    let mut reply = Some(reply);
    let fake = Fake::new(move |_| reply.take().map_or(Reply::json("{}"), |reply| reply));
    let (relay, mut agent) = clock(&fake).await;
    let mut client = relay.client().await;
    let mut body = patiently(client.send(post("{}"))).await.expect("an answer").into_body();
    agent.stop();
    until_state(&relay, |mcp| mcp["clients"][0]["status"] == "draining").await;
    assert_eq!(relay.ask(post("{}")).await.status(), 503, "nothing new");
    feed.send(Bytes::from("done")).await.expect("it is read");
    drop(feed);
    assert_eq!(piece(&mut body).await.expect("more").expect("good"), "done");
    assert!(piece(&mut body).await.is_none());
    assert_eq!(agent.ended().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_told_to_stop_ends_its_endless_streams_and_waits_for_calls() {
    let (get, _get_feed) = Reply::events();
    let (call, call_feed) = Reply::fed(200, &[("content-type", "application/json")]);
    let (mut get, mut call) = (Some(get), Some(call));
    let fake = Fake::new(move |seen| match seen.method.as_str() {
        "GET" => get.take().expect("asked once"),
        _ => call.take().expect("asked once"),
    });
    let (relay, _agent) = clock(&fake).await;
    let (mut listener, mut caller) = (relay.client().await, relay.client().await);
    let mut stream = patiently(listener.send(listen())).await.expect("an answer").into_body();
    let mut answer = patiently(caller.send(post("{}"))).await.expect("an answer").into_body();
    let start = Instant::now();
    relay.stop();
    // Seen to fail: without the end, the stream holds the server for the whole drain timeout.
    while let Some(piece) = piece(&mut stream).await {
        piece.expect("it ends between two events");
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    call_feed.send("done".into()).await.expect("it is read");
    drop(call_feed);
    assert_eq!(piece(&mut answer).await.expect("more").expect("good"), "done");
    assert!(piece(&mut answer).await.is_none());
    relay.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_502_with_the_callers_id() {
    let fake = Fake::plain();
    fake.set_reachable(false);
    let (relay, _agent) = clock(&fake).await;
    let answer = relay.ask(post(CALL)).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.json()["error"]["message"]),
        (502, &"Provider error".into())
    );
    assert!(answer.text().contains(r#""id":12345678901234567890123"#));
    until_state(&relay, |mcp| mcp["clients"][0]["status"] == "not_ready").await;
    fake.set_reachable(true);
    until_state(&relay, |mcp| mcp["clients"][0]["status"] == "idle").await;
    let (mut client, _) = relay.client_over(PipeOptions::default(), LOCAL).await;
    assert_eq!(patiently(client.ask(post(CALL))).await.expect("an answer").status(), 200);
}

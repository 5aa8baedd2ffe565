//! A client that leaves: its server learns of it at once, in both eras and in every phase.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use nfrx_testkit::http::HttpClient;
use nfrx_testkit::relay::{Relay, patiently};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, McpAgent, POSTED, clock, listen, piece, post, request};

/// What a cancel may take (design, choice 6).
const CANCEL_MAX: Duration = Duration::from_millis(50);

/// Hangs up and measures how long the server takes to learn of it.
async fn check<T>(fake: &Fake, client: T) {
    assert_eq!(fake.cancelled(), 0);
    let start = Instant::now();
    drop(client);
    patiently(fake.until_cancelled(1)).await;
    assert!(start.elapsed() < CANCEL_MAX, "cancelled after {:?}", start.elapsed());
}

/// A server that never answers.
async fn silent() -> (Relay, McpAgent, Fake) {
    let fake = Fake::new(|_| Reply::Never);
    let (relay, agent) = clock(&fake).await;
    (relay, agent, fake)
}

/// Sends in a task; dropping it hangs up.
fn sending(mut client: HttpClient, request: Request<Bytes>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move { drop(client.ask(request).await) });
    task
}

// Seen to fail: when a call in the tunnel does not watch whether its caller is there.
#[tokio::test(start_paused = true)]
async fn leaving_before_the_head_reaches_the_server() {
    let (relay, _agent, fake) = silent().await;
    for request in [post(r#"{"id":1,"method":"tools/call"}"#), listen()] {
        let before = fake.seen().len();
        let client = sending(relay.client().await, request);
        patiently(fake.until_seen(before + 1)).await;
        let start = Instant::now();
        drop(client);
        patiently(fake.until_cancelled(before + 1)).await;
        assert!(start.elapsed() < CANCEL_MAX, "cancelled after {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_a_stream_reaches_the_server_also_while_nothing_comes() {
    let modern: &[(&str, &str)] = &[("mcp-method", "tools/call"), ("mcp-protocol-version", "2026-07-28")];
    let modern = request("POST", CLOCK, &[POSTED, modern].concat(), "{}");
    for request in [post("{}"), modern, listen()] {
        let (reply, feed) = Reply::events();
        let mut reply = Some(reply);
        let fake = Fake::new(move |_| reply.take().expect("asked once"));
        let (relay, _agent) = clock(&fake).await;
        let mut client = relay.client().await;
        let mut body = patiently(client.send(request)).await.expect("an answer").into_body();
        piece(&mut body).await.expect("the first comment").expect("good");
        tokio::time::sleep(Duration::from_secs(7)).await;
        check(&fake, (client, body)).await;
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_while_an_agent_is_waited_for_sends_nothing_later() {
    let fake = Fake::plain();
    let (relay, agent) = clock(&fake).await;
    let entrance = relay.entrance();
    agent.kill();
    let client = sending(relay.client().await, post("{}"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _agent = crate::rig::Plan::new("clock").join(&entrance, &fake).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(fake.seen().is_empty());
}

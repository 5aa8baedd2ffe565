//! What the tests ask, and how they read the answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use nfrx_testkit::http::{HttpClient, post};
use nfrx_testkit::pipe::PipeOptions;
use nfrx_testkit::relay::{API_KEY, LOCAL, Relay, TestAgent, patiently};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) const CHAT: &str = "/api/llm/v1/chat/completions";

/// A chat request; `members` are added to its body.
pub(crate) fn chat(members: &Value) -> Request<Bytes> {
    chat_at(CHAT, members)
}

/// The same at another path or with a query.
pub(crate) fn chat_at(path: &str, members: &Value) -> Request<Bytes> {
    let mut body = json!({ "model": "demo", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in members.as_object().expect("members") {
        body[name] = value.clone();
    }
    post(path, Some(API_KEY), &body)
}

/// Sends and gives the body of a good answer.
pub(crate) async fn open(client: &mut HttpClient, request: Request<Bytes>) -> Incoming {
    let answer = patiently(client.send(request)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body()
}

/// The next piece of a body; `None` at its clean end.
pub(crate) async fn piece(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    patiently(body.frame()).await.map(|frame| Ok(frame?.into_data().unwrap_or_default()))
}

/// Reads on to the end: the text, and whether the end was clean.
pub(crate) async fn rest(body: &mut Incoming) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        match piece(body).await {
            Some(Ok(bytes)) => text.extend_from_slice(&bytes),
            Some(Err(_)) => return (String::from_utf8_lossy(&text).into_owned(), false),
            None => return (String::from_utf8_lossy(&text).into_owned(), true),
        }
    }
}

/// Whether an answer came whole. A small one that breaks off may take its head with it.
pub(crate) async fn comes_whole(client: &mut HttpClient, request: Request<Bytes>) -> bool {
    match patiently(client.send(request)).await {
        Ok(answer) => rest(&mut answer.into_body()).await.1,
        Err(_) => false,
    }
}

/// The longest time between two pieces of a stream, read to its clean end.
pub(crate) async fn longest_gap(mut body: Incoming) -> Duration {
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    while let Some(piece) = piece(&mut body).await {
        piece.expect("the stream goes on");
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest
}

/// Clients in tasks of their own, each with a connection. Dropped, all hang up at once.
#[derive(Default)]
pub(crate) struct Crowd(JoinSet<()>);

impl Crowd {
    /// `count` clients that send `request` and read all of the answer, then stay.
    /// Returns when `streaming` and each has got the first piece, else at once.
    pub(crate) async fn send(&mut self, relay: &Relay, count: usize, members: &Value, streaming: bool) {
        let mut started = Vec::new();
        for _ in 0..count {
            let (mut client, _) = relay.client_over(PipeOptions::default(), LOCAL).await;
            let request = chat(members);
            let (first, has_first) = oneshot::channel();
            started.push(has_first);
            self.0.spawn(async move {
                let mut body = open(&mut client, request).await;
                let piece_came = piece(&mut body).await.is_some();
                let _ = first.send(piece_came);
                while piece(&mut body).await.is_some() {}
                std::future::pending::<()>().await;
            });
        }
        if streaming {
            for first in started {
                assert!(patiently(first).await.expect("the client is there"), "a stream without a piece");
            }
        }
    }
}

/// The agent's first tunnel still stands and carries a request.
pub(crate) async fn assert_alive(relay: &Relay, agent: &TestAgent) {
    assert_eq!(relay.ask(chat(&json!({ "x_sim_tokens": 1 }))).await.status(), StatusCode::OK);
    assert_eq!(agent.tunnels().len(), 1, "the tunnel was lost and made again");
}

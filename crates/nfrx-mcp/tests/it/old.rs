//! Agents and servers of the old release: frames as they were captured, and what becomes of
//! requests that no frame carries.

use std::future::poll_fn;

use http::Request;
use nfrx_testkit::pipe::{PipeEnd, PipeOptions};
use nfrx_testkit::relay::{LOCAL, Relay, WORKER_KEY, patiently};
use nfrx_tunnel::legacy::{Heard, Socket};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fake::{Fake, Reply};
use crate::rig::{CLOCK, POSTED, Plan, config, header, post, relay, request};

/// An agent of the old release, word for word.
struct OldAgent(Socket);

impl OldAgent {
    async fn dial(relay: &Relay) -> Self {
        let (mut pipe, _) = relay.dial(PipeOptions::default(), LOCAL);
        let head = format!(
            "GET /api/mcp/connect HTTP/1.1\r\nHost: relay.test\r\nAuthorization: Bearer {WORKER_KEY}\r\nConnection: Upgrade\r\nSec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Websocket-Version: 13\r\nUpgrade: websocket\r\nUser-Agent: Go-http-client/1.1\r\n\r\n"
        );
        pipe.write_all(head.as_bytes()).await.expect("it listens");
        upgraded(&mut pipe).await;
        Self(Socket::of_agent(Box::pin(pipe), 32_768).await)
    }

    /// Registered under an id, as the old agent does it.
    async fn join(relay: &Relay, id: &str) -> Self {
        let mut agent = Self::dial(relay).await;
        agent.say(&json!({ "client_name": "Clock", "id": id }));
        assert_eq!(agent.hear().await, json!({ "id": id }), "no `t`");
        agent
    }

    fn say(&mut self, message: &Value) {
        self.0.say(message.to_string());
    }

    /// The next message; pings are answered as the old agent does.
    async fn hear(&mut self) -> Value {
        loop {
            match self.heard().await {
                Heard::Text(text) => match serde_json::from_str::<Value>(&text).expect("JSON") {
                    ping if ping["t"] == "ping" => self.say(&json!({ "t": "pong" })),
                    message => return message,
                },
                Heard::Beat => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn heard(&mut self) -> Heard {
        patiently(poll_fn(|cx| self.0.poll_talk(cx))).await
    }

    /// Says what waits, until the connection ends.
    async fn live(mut self) {
        loop {
            if let Heard::Closed(_) | Heard::Broken(_) = self.heard().await {
                return;
            }
        }
    }

    /// Opens the next call and gives its id and its message.
    async fn open(&mut self) -> (Value, Value) {
        let open = self.hear().await;
        assert_eq!(open["t"], "open");
        self.say(&json!({ "t": "open.ok", "sid": open["sid"] }));
        let rpc = self.hear().await;
        assert_eq!((&rpc["t"], &rpc["sid"]), (&json!("rpc"), &open["sid"]));
        (open, rpc["payload"].clone())
    }
}

/// Reads the head of the answer to an upgrade.
async fn upgraded(pipe: &mut PipeEnd) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(pipe.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101") && !head.contains("nfrx.h2"), "{head}");
}

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;

#[tokio::test(start_paused = true)]
async fn an_old_agent_answers_a_call_frame_by_frame() {
    let relay = relay(config(&[]));
    let mut agent = OldAgent::join(&relay, "clock").await;
    let asking = relay.ask(post(INITIALIZE));
    let serving = async {
        let (open, payload) = agent.open().await;
        // The relay's own key was the caller's only one.
        assert_eq!((&open["hint"], open.get("auth")), (&json!("initialize"), None));
        assert_eq!(payload, serde_json::from_str::<Value>(INITIALIZE).expect("JSON"));
        agent.0.say(format!(
            r#"{{"t":"rpc","sid":{},"payload":{{"jsonrpc":"2.0","id":1,"result":{{"n":1.0}}}}}}"#,
            open["sid"]
        ));
        agent.say(&json!({ "t": "close", "sid": open["sid"], "msg": "done" }));
        let close = agent.hear().await;
        assert_eq!(close, json!({ "t": "close", "sid": open["sid"], "msg": "done" }));
    };
    let (answer, ()) = tokio::join!(asking, serving);
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "application/json"));
    assert_eq!(answer.text(), r#"{"jsonrpc":"2.0","id":1,"result":{"n":1.0}}"#);
    let mut life = JoinSet::new();
    life.spawn(agent.live());
    let noted = relay.ask(post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)).await;
    assert_eq!((noted.status().as_u16(), noted.body.len()), (202, 0));
    let streamed = relay.ask(request("GET", CLOCK, &[("accept", "text/event-stream")], "")).await;
    assert_eq!((streamed.status().as_u16(), header(&streamed, "allow")), (405, "POST"));
    let batch = relay.ask(post("[]")).await;
    assert_eq!(
        (batch.status().as_u16(), &batch.json()["error"]["data"]["mcp"]),
        (400, &json!("MCP_SCHEMA_ERROR"))
    );
    let long = format!(r#"{{"id":7,"method":"ping","x":"{}"}}"#, "y".repeat(32_768));
    let long = relay.ask(post(long)).await;
    assert_eq!(
        (long.status().as_u16(), &long.json()["error"]["data"]["mcp"]),
        (413, &json!("MCP_LIMIT_EXCEEDED"))
    );
    assert!(life.try_join_next().is_none(), "the agent lives");
}

#[tokio::test(start_paused = true)]
async fn a_call_at_an_old_agent_that_dies_fails_at_once_and_a_caller_who_leaves_is_told_of() {
    let relay = relay(config(&[]));
    let mut agent = OldAgent::join(&relay, "clock").await;
    let mut client = relay.client().await;
    let mut leaving = Box::pin(client.ask(post(INITIALIZE)));
    let open = tokio::select! {
        _ = &mut leaving => panic!("nobody answers"),
        (open, _) = agent.open() => open,
    };
    drop(leaving);
    drop(client);
    assert_eq!(agent.hear().await, json!({ "t": "close", "sid": open["sid"], "msg": "timeout" }));
    let start = Instant::now();
    let dying = async {
        agent.open().await;
        drop(agent);
    };
    let (answer, ()) = tokio::join!(relay.ask(post(INITIALIZE)), dying);
    // Seen to fail: with calls that wait for the whole timeout.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!((answer.status().as_u16(), &answer.json()["id"]), (502, &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn an_old_agent_judges_its_own_token() {
    let relay = relay(config(&[("public", "true")]));
    let mut agent = OldAgent::join(&relay, "clock").await;
    let headers = [POSTED, &[("authorization", "bearer  tokX")]].concat();
    let asking = relay.ask(request("POST", CLOCK, &headers, INITIALIZE));
    let refusing = async {
        let open = agent.hear().await;
        assert_eq!(open["auth"], "tokX");
        agent.say(&json!({ "t": "open.fail", "sid": open["sid"], "code": "MCP_UNAUTHORIZED", "msg": "unauthorized" }));
        agent.live().await;
    };
    let answer = tokio::select! {
        answer = asking => answer,
        () = refusing => panic!("the connection stays"),
    };
    assert_eq!(
        (answer.status().as_u16(), &answer.json()["error"]["data"]["mcp"]),
        (401, &json!("MCP_UNAUTHORIZED"))
    );
    assert!(header(&answer, "www-authenticate").starts_with("Bearer "));
}

#[tokio::test(start_paused = true)]
async fn a_silent_old_agent_is_dead_and_a_newer_one_takes_its_place() {
    let relay = relay(config(&[]));
    let mut first = OldAgent::join(&relay, "clock").await;
    let mut second = OldAgent::join(&relay, "clock").await;
    assert!(matches!(first.heard().await, Heard::Closed(Some((1001, reason))) if reason.contains("newer")));
    let start = Instant::now();
    let closed = loop {
        match second.heard().await {
            Heard::Text(_) | Heard::Beat => {}
            Heard::Closed(frame) => break frame,
            Heard::Refused { problem, .. } | Heard::Broken(problem) => panic!("{problem}"),
        }
    };
    assert_eq!(closed, Some((1000, "dead".to_owned())));
    assert!((45..=60).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let mut nobody = OldAgent::dial(&relay).await;
    nobody.say(&json!([1]));
    assert!(
        matches!(nobody.heard().await, Heard::Closed(Some((1008, reason))) if reason == "invalid register")
    );
}

fn call() -> Request<bytes::Bytes> {
    post(r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"tools/call","params":{"name":"a"}}"#)
}

#[tokio::test(start_paused = true)]
async fn our_agent_serves_a_relay_of_the_old_release() {
    let mut count = 0;
    let fake = Fake::new(move |_| {
        count += 1;
        let result = r#"{"jsonrpc":"2.0","id":12345678901234567890123,"result":{}}"#;
        match count {
            1 => Reply::json(result),
            2 => Reply::new(
                200,
                &[("content-type", "text/event-stream")],
                format!("data: {{\"method\":\"notifications/progress\"}}\n\ndata: {result}\n\n"),
            ),
            3 => Reply::new(202, &[], ""),
            _ => Reply::Never,
        }
    });
    let relay = relay(config(&[]));
    let mut agent = Plan::new("clock").over_v1().join(&relay.entrance(), &fake).await;
    for _ in 0..2 {
        let answer = relay.ask(call()).await;
        assert_eq!(
            (answer.status().as_u16(), answer.json()["result"].is_object()),
            (200, true),
            "{}",
            answer.text()
        );
    }
    let strange = relay.ask(call()).await;
    assert_eq!(strange.json()["error"]["data"]["status"], 202);
    assert!(strange.text().contains("\"id\":12345678901234567890123"), "{}", strange.text());
    // Its caller leaves. Seen to fail: without the end of the call at the server.
    let mut client = relay.client().await;
    let mut leaving = Box::pin(client.ask(call()));
    tokio::select! {
        _ = &mut leaving => panic!("nobody answers"),
        _ = fake.until_seen(4) => {}
    }
    drop(leaving);
    drop(client);
    let start = Instant::now();
    patiently(fake.until_cancelled(1)).await;
    assert!(start.elapsed().as_secs() < 5, "not by the agent's own limit: {:?}", start.elapsed());
    agent.stop();
    assert_eq!(agent.ended().await, Ok(()), "a stop is no failure");
    assert_eq!(relay.ask(call()).await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn our_agents_token_counts_at_a_relay_of_the_old_release() {
    let relay = relay(config(&[("public", "true")]));
    let plan = Plan::new("clock").over_v1().with("auth_token", "own");
    let _agent = plan.join(&relay.entrance(), &Fake::plain()).await;
    for (token, expected) in [("own", 200), ("other", 401)] {
        let token = format!("Bearer {token}");
        let headers = [POSTED, &[("authorization", token.as_str())]].concat();
        let answer = relay.ask(request("POST", CLOCK, &headers, INITIALIZE)).await;
        assert_eq!(answer.status().as_u16(), expected, "{token}: {}", answer.text());
    }
}

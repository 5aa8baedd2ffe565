//! The server's side and the backend's, played to our agent: what it says to the server and
//! asks of the backend is compared with what the old agent said and asked.

use std::collections::HashMap;
use std::time::Duration;

use nfrx_conformance::backend::{Answering, Asked, Backend};
use nfrx_conformance::scene::{Scene, Side, What};
use nfrx_conformance::server::{OldServer, Tunnel};
use nfrx_conformance::{Heard, members};
use nfrx_testkit::relay::{AgentPlan, Kind, RunningAgent, WORKER_KEY};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{bytes, read};

struct Player {
    kind: Kind,
    server: OldServer,
    backend: Backend,
    agent: RunningAgent,
    tunnel: Option<Tunnel>,
    /// By the id of their request.
    asked: HashMap<String, Asked>,
    answering: HashMap<String, Answering>,
    lost: Option<Instant>,
    /// The update that was recorded last.
    updated: Value,
    /// Requests so far, and before which of them the backend leaves.
    requests: usize,
    leaves_before: usize,
}

impl Player {
    fn new(kind: Kind, models: &[&str], batch: u32) -> Self {
        let (server, backend) = (OldServer::default(), Backend::new(models));
        let mut plan = AgentPlan { embedding_batch_size: batch, ..AgentPlan::of(kind, "b1", 4) };
        plan.options.insert("model_poll_interval".to_owned(), "1s".to_owned());
        let agent = plan.start_between(server.door(), backend.door());
        Self {
            kind,
            server,
            backend,
            agent,
            tunnel: None,
            asked: HashMap::new(),
            answering: HashMap::new(),
            lost: None,
            updated: Value::Null,
            requests: 0,
            leaves_before: usize::MAX,
        }
    }

    async fn play(mut self, name: &str) -> Self {
        for event in Scene::read(name).events {
            match (event.from, event.what) {
                (Side::Agent, What::Upgrade(recorded)) => self.agent_dials(&recorded).await,
                (Side::Agent, What::Message(kind, text)) => self.agent_says(&kind, &text).await,
                (Side::Agent, What::Close(1000, reason)) if reason.is_empty() => {}
                (Side::Agent, What::Close(code, reason)) => self.agent_closes(code, reason).await,
                (Side::Server, What::Message(kind, text)) if kind == "http_proxy_request" => {
                    self.server_asks(&text).await;
                }
                (Side::Server, What::Message(_, cancel)) => self.server_cancels(&cancel).await,
                (Side::Server, What::Close(1006, _)) => {
                    self.tunnel().pipe.cut();
                    self.lost = Some(Instant::now());
                }
                // It answers a close of the agent.
                (Side::Server, What::Close(..)) => {}
                (Side::Server, What::Upgrade(_)) => unreachable!("servers dial nobody"),
            }
        }
        self
    }

    fn tunnel(&mut self) -> &mut Tunnel {
        self.tunnel.as_mut().expect("it has dialed")
    }

    async fn agent_dials(&mut self, recorded: &Value) {
        let tunnel = self.server.accept().await;
        let line = tunnel.head.lines().next().unwrap_or_default();
        assert_eq!(line, format!("GET {} HTTP/1.1", recorded["path"].as_str().expect("a path")));
        let said: HashMap<String, &str> = tunnel
            .head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        for (name, value) in recorded["headers"].as_object().expect("headers") {
            match name.as_str() {
                // Of no use to a server.
                "host" | "user-agent" | "accept-encoding" => {}
                "authorization" => assert_eq!(said[name], format!("Bearer {WORKER_KEY}")),
                name => assert_eq!(said[name], value.as_str().expect("text"), "{name}"),
            }
        }
        if let Some(lost) = self.lost.take() {
            // Worker protocol §9.4 says a second; ours comes back sooner.
            let wait = lost.elapsed();
            assert!(wait <= Duration::from_secs(1), "{wait:?}");
        }
        self.tunnel = Some(tunnel);
    }

    async fn agent_says(&mut self, kind: &str, recorded: &str) {
        let (id, expected) = read(recorded);
        match kind {
            "register" | "heartbeat" => {}
            "status_update" => {
                // The old agent said so again and again, and once right after its registration,
                // which had said the same.
                let is_news = self.updated != expected && expected["status"] != "idle";
                self.updated.clone_from(&expected);
                match expected["status"].as_str() {
                    _ if !is_news => return,
                    Some("not_ready") => self.backend.leave(),
                    _ => self.agent.stop(),
                }
            }
            "http_proxy_response_headers" if !self.asked.contains_key(&id) => {}
            "http_proxy_response_headers" => {
                let headers: Vec<_> = expected["headers"]
                    .as_object()
                    .expect("headers")
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
                    .collect();
                let status = expected["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                let answering =
                    self.asked.remove(&id).expect("just seen").begin(status.expect("a status"), &headers);
                self.answering.insert(id, answering);
            }
            "http_proxy_response_chunk" => {
                if let Some(answering) = self.answering.get(&id) {
                    answering.say(bytes(&expected, "data")).await;
                }
            }
            "http_proxy_response_end" => drop(self.answering.remove(&id)),
            other => panic!("no agent says {other}"),
        }
        let text = self.tunnel().socket.text().await;
        check(&text, recorded, kind);
    }

    async fn server_asks(&mut self, recorded: &str) {
        let (id, expected) = read(recorded);
        self.requests += 1;
        if self.requests > self.leaves_before {
            self.backend.leave();
            return self.tunnel().socket.say_text(recorded).await;
        }
        self.tunnel().socket.say_text(recorded).await;
        let asked = self.backend.asked().await;
        let base = if self.kind == Kind::Docling { "" } else { "/v1" };
        let path = expected["path"].as_str().expect("a path");
        assert_eq!((asked.method.as_str(), asked.path.clone()), ("POST", format!("{base}{path}")));
        assert_eq!(asked.body, bytes(&expected, "body"));
        for (name, value) in expected["headers"].as_object().expect("headers") {
            let expected = if name == "Authorization" { "" } else { value.as_str().expect("text") };
            assert_eq!(asked.header(name), expected, "{name}");
        }
        self.asked.insert(id, asked);
    }

    async fn server_cancels(&mut self, recorded: &str) {
        let (id, _) = read(recorded);
        self.tunnel().socket.say_text(recorded).await;
        match (self.asked.remove(&id), self.answering.remove(&id)) {
            (Some(mut asked), _) => asked.unwanted().await,
            (_, Some(answering)) => answering.unwanted().await,
            (None, None) => panic!("it was asked"),
        }
        // Nothing more is said of it: the next thing heard is a sign of life.
        let next = self.tunnel().socket.hear().await;
        assert_eq!(next["type"], "heartbeat", "{next}");
    }

    async fn agent_closes(&mut self, code: u64, reason: String) {
        // The recording has no end of the last answer: the old agent closed before it sent one.
        for (id, answering) in self.answering.drain() {
            answering.end();
            let end = self.tunnel.as_mut().expect("it has dialed").socket.hear().await;
            assert_eq!(end, json!({ "type": "http_proxy_response_end", "request_id": id }));
        }
        let end = self.tunnel().socket.end().await;
        assert_eq!(end, Heard::Closed(u16::try_from(code).expect("a code"), reason));
    }
}

/// What the agent said is what the old one said, apart from what is known to differ.
#[track_caller]
fn check(text: &str, recorded: &str, kind: &str) {
    let (mut said, mut expected) = (read(text).1, read(recorded).1);
    let (mut order, mut old_order) = (members(text), members(recorded));
    let facts = |message: &Value| {
        let facts = message["agent_config"].as_object();
        facts.map(|facts| facts.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    match kind {
        "heartbeat" => {
            // Zeroes are left out (worker protocol §3.2).
            assert!(said["ts"].as_u64().is_some_and(|ts| ts > 1_600_000_000), "{said}");
            old_order.retain(|name| order.contains(name));
            (said, expected) = (Value::Null, Value::Null);
        }
        "register" | "status_update" => {
            // Facts of the host and the build are of here and now; of uploads the old agents
            // told none.
            if !facts(&expected).is_empty() {
                assert_eq!(facts(&said), facts(&expected));
            }
            for name in ["agent_config", "version", "build_sha", "build_date"] {
                for message in [&mut said, &mut expected] {
                    message.as_object_mut().expect("an object").remove(name);
                }
                order.retain(|member| member != name);
                old_order.retain(|member| member != name);
            }
            if expected["models"].is_null() {
                // KD-48: what is offered no more is withdrawn; `null` and `[]` read alike.
                assert_eq!(said["models"], json!([]));
                (said["models"], expected["models"]) = (Value::Null, Value::Null);
                order.retain(|member| member != "models");
                old_order.retain(|member| member != "models");
            }
        }
        _ if !expected["error"].is_null() => {
            // KD-24: no text of the agent's own network. The code says a little more.
            assert_eq!(said["error"]["code"], "unreachable");
            assert!(!said["error"]["message"].as_str().expect("text").contains("127.0.0.1"), "{said}");
            (said["error"], expected["error"]) = (Value::Null, Value::Null);
        }
        "http_proxy_response_chunk"
            if String::from_utf8_lossy(&bytes(&expected, "data")).contains("dial tcp") =>
        {
            assert_eq!(bytes(&said, "data"), br#"{"error":"upstream_error"}"#);
            (said["data"], expected["data"]) = (Value::Null, Value::Null);
        }
        _ => {}
    }
    assert_eq!(said, expected);
    // Parsers exist that look no further than the first member.
    assert_eq!(order, old_order);
}

#[tokio::test(start_paused = true)]
async fn llm_scenes_are_played_as_recorded() {
    for (scene, batch) in [
        ("llm-chat-plain", 0),
        ("llm-chat-stream", 0),
        ("llm-responses-stream", 0),
        ("llm-two-interleaved", 0),
        ("llm-embeddings-batch-2", 2),
        ("llm-cancel", 0),
        ("llm-cancel-before-first-byte", 0),
        ("llm-backend-gone-and-heartbeats", 0),
        ("llm-server-shutdown", 0),
    ] {
        Player::new(Kind::Llm, &["m"], batch).play(scene).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backends_429_is_passed_on_and_its_absence_told_without_its_address() {
    let player = Player::new(Kind::Llm, &["m"], 0);
    Player { leaves_before: 1, ..player }.play("llm-backend-errors").await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_stopped_finishes_its_stream_and_closes_as_drained() {
    let mut player = Player::new(Kind::Llm, &["m"], 0).play("llm-agent-drain").await;
    assert_eq!(player.agent.ended().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn uploads_are_played_as_recorded() {
    Player::new(Kind::Asr, &["whisper-1"], 0).play("asr-transcription").await;
    Player::new(Kind::Docling, &[], 0).play("docling-convert-file").await;
}

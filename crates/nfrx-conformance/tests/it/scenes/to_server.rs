//! The agent's side and the client's, played to our server: what it says to the agent is
//! compared with what the old server said, and what the client gets with what the agent sent.

use bytes::Bytes;
use http::Request;
use nfrx_conformance::scene::{Scene, Side, What};
use nfrx_conformance::worker::{Worker, find, upgrade};
use nfrx_conformance::{Heard, members};
use nfrx_testkit::relay::{API_KEY, Relay, WORKER_KEY, config};
use serde_json::{Value, json};

use super::client::{Client, Seen};
use super::{Ids, bytes, read};

struct Player {
    plugin: &'static str,
    /// One client's body that makes the server say several messages.
    one_body: Option<Value>,
    /// Headers that reach an agent no more.
    gone: &'static [&'static str],
    relay: Relay,
    worker: Option<Worker>,
    ids: Ids,
    asking: Vec<Asking>,
}

/// A client, and what the agent has sent for it.
struct Asking {
    /// The recorded id of its request.
    id: String,
    client: Client,
    head: Option<Value>,
    body: Vec<u8>,
}

impl Player {
    fn new(plugin: &'static str) -> Self {
        let relay = Relay::start(config(&[]));
        Self {
            plugin,
            one_body: None,
            gone: &[],
            relay,
            worker: None,
            ids: Ids::default(),
            asking: Vec::new(),
        }
    }

    /// Plays the whole scene.
    async fn play(mut self, name: &str) -> Self {
        for event in Scene::read(name).events {
            match (event.from, event.what) {
                (Side::Agent, What::Upgrade(asked)) => self.dial(&asked).await,
                (Side::Agent, What::Message(kind, text)) => self.agent_says(&kind, &text).await,
                // Without a reason it only answers a close of the server.
                (Side::Agent, What::Close(_, reason)) if reason.is_empty() => {}
                (Side::Agent, What::Close(code, reason)) => {
                    // As recorded: a while after the last piece.
                    self.clients_got_it().await;
                    self.worker().socket.close(u16::try_from(code).expect("a code"), &reason).await;
                }
                (Side::Server, What::Message(kind, text)) if kind == "http_proxy_request" => {
                    self.server_asks(&text).await;
                }
                (Side::Server, What::Message(_, cancel)) => self.server_cancels(&cancel).await,
                (Side::Server, What::Close(code, reason)) => self.server_closes(code, &reason).await,
                (Side::Server, What::Upgrade(_)) => unreachable!("servers dial nobody"),
            }
        }
        self
    }

    fn worker(&mut self) -> &mut Worker {
        self.worker.as_mut().expect("it has dialed")
    }

    async fn dial(&mut self, asked: &Value) {
        assert_eq!(asked["path"], format!("/api/{}/connect", self.plugin));
        match Worker::dial(&self.relay, &upgrade(self.plugin, Some(WORKER_KEY), "")).await {
            Ok(worker) => self.worker = Some(worker),
            // The second dial of a scene in which the server stops.
            Err(refused) => assert_eq!(refused.status, 503),
        }
    }

    async fn agent_says(&mut self, kind: &str, text: &str) {
        let now = self.ids.put_in(text);
        self.worker().socket.say_text(&now).await;
        if kind == "register" {
            self.relay.until_part(self.plugin, |part| find(part, "b1").is_some()).await;
        }
        let (id, message) = read(text);
        let Some(asking) = self.asking.iter_mut().find(|asking| asking.id == id) else { return };
        match kind {
            "http_proxy_response_headers" => asking.head = Some(message),
            "http_proxy_response_chunk" => asking.body.extend(bytes(&message, "data")),
            _ => {}
        }
    }

    /// The server is to say this request, since a client asks for it.
    async fn server_asks(&mut self, recorded: &str) {
        let (id, mut expected) = read(recorded);
        let body = bytes(&expected, "body");
        if self.one_body.is_none() || self.asking.is_empty() {
            let sent = self.one_body.as_ref().map_or_else(|| body.clone(), |body| body.to_string().into());
            let client = Client::send(&self.relay, client_request(self.plugin, &expected, sent)).await;
            self.asking.push(Asking { id: id.clone(), client, head: None, body: Vec::new() });
        }
        let asked = self.worker().request().await;
        self.ids.0.insert(id, asked.id.clone());
        let (_, mut message) = read(&asked.text);
        for name in self.gone {
            assert!(expected["headers"].as_object_mut().expect("headers").remove(*name).is_some(), "{name}");
        }
        if self.one_body.is_some() {
            // Of a part the order of members is free (HTTP contract §4.4).
            let json = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("JSON");
            assert_eq!(json(&asked.body), json(&body));
            (message["body"], expected["body"]) = (Value::Null, Value::Null);
        }
        assert_eq!(message, expected);
        // Parsers exist that look no further than the first member.
        assert_eq!(members(&asked.text), members(recorded));
    }

    /// The client of this request leaves when it has got what was sent so far.
    async fn server_cancels(&mut self, recorded: &str) {
        let (id, _) = read(recorded);
        let at = self.asking.iter().position(|asking| asking.id == id).expect("a client");
        let mut asking = self.asking.remove(at);
        asking.client.until(|seen| seen.body == asking.body).await;
        drop(asking);
        let now = self.ids.put_in(recorded);
        let text = self.worker().socket.text().await;
        assert_eq!((read(&text), members(&text)), (read(&now), members(&now)));
    }

    async fn server_closes(&mut self, code: u64, reason: &str) {
        let mut expected = (u16::try_from(code).expect("a code"), reason);
        if code == 1006 {
            // KD-62: the old server's socket just dropped.
            self.relay.stop();
            expected = (1001, "server shutting down");
        }
        let end = self.worker().socket.end().await;
        assert_eq!(end, Heard::Closed(expected.0, expected.1.to_owned()));
    }

    /// Each client has got what the agent sent for it, as far as the recording goes.
    async fn clients_got_it(&mut self) {
        for asking in &mut self.asking {
            let length = asking.body.len();
            let seen = asking.client.until(|seen| seen.status > 0 && seen.body.len() >= length).await;
            assert_eq!(String::from_utf8_lossy(&seen.body), String::from_utf8_lossy(&asking.body));
            let head = asking.head.as_ref().expect("the agent sent a head");
            assert_eq!(u64::from(seen.status), head["status"]);
            for (name, value) in head["headers"].as_object().expect("headers") {
                assert_eq!(seen.headers[name], value.as_str().unwrap_or_default(), "{name}");
            }
        }
    }

    async fn ends(&mut self) -> Vec<Seen> {
        let mut ends = Vec::new();
        for asking in &mut self.asking {
            ends.push(asking.client.end().await);
        }
        ends
    }
}

/// The request of a client that makes the old server say this message.
fn client_request(plugin: &str, message: &Value, body: Vec<u8>) -> Request<Bytes> {
    let path = message["path"].as_str().expect("a path").trim_start_matches("/v1");
    let mut request = Request::post(format!("/api/{plugin}/v1{path}")).header("host", "relay.test");
    for (name, value) in message["headers"].as_object().expect("headers") {
        if !["Authorization", "Cache-Control", "Content-Length"].contains(&name.as_str()) {
            request = request.header(name, value.as_str().expect("text"));
        }
    }
    request.header("Authorization", format!("Bearer {API_KEY}")).body(body.into()).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn chats_and_responses_go_there_and_back_as_recorded() {
    for (scene, clean) in [
        ("llm-chat-plain", true),
        ("llm-responses-stream", true),
        ("llm-two-interleaved", true),
        // This recording ends before its stream does.
        ("llm-chat-stream", false),
    ] {
        let mut player = Player::new("llm").play(scene).await;
        player.clients_got_it().await;
        if clean {
            assert!(player.ends().await.iter().all(|seen| seen.ended == Some(true)), "{scene}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_are_cancels_as_recorded() {
    for scene in ["llm-cancel", "llm-cancel-before-first-byte"] {
        let player = Player::new("llm").play(scene).await;
        assert!(player.asking.is_empty(), "{scene}");
        player.relay.until(|llm| llm["server"]["jobs_inflight_total"] == 0).await;
    }
}

// KD-10: the vectors of the second part are numbered on.
#[tokio::test(start_paused = true)]
async fn embeddings_are_parted_as_recorded_and_joined() {
    let body = json!({ "model": "m", "encoding_format": "float", "input": ["a", "b", "c"] });
    let mut player =
        Player { one_body: Some(body), ..Player::new("llm") }.play("llm-embeddings-batch-2").await;
    let seen = player.ends().await.remove(0);
    let json: Value = serde_json::from_slice(&seen.body).expect("JSON");
    let numbers: Vec<_> = (0..3).map(|at| json["data"][at]["embedding"][0].as_f64()).collect();
    assert_eq!(numbers, [Some(0.244252), Some(0.244283), Some(0.244314)]);
    assert!((0..3).all(|at| json["data"][at]["index"] == at), "{json}");
    assert_eq!((seen.status, &json["usage"]), (200, &json!({ "prompt_tokens": 3, "total_tokens": 3 })));
}

// KD-24: of the second failure the client learns no address.
#[tokio::test(start_paused = true)]
async fn a_backends_429_passes_and_its_absence_is_a_502() {
    let mut player = Player::new("llm").play("llm-backend-errors").await;
    let ends = player.ends().await;
    let refused = &player.asking[0];
    assert_eq!((ends[0].status, &ends[0].body), (429, &refused.body));
    assert_eq!((ends[1].status, ends[1].body.as_slice()), (502, &br#"{"error":"upstream_error"}"#[..]));
    assert!(ends.iter().all(|seen| seen.ended == Some(true)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_backend_is_gone_is_not_ready_and_its_load_shows() {
    let player = Player::new("llm").play("llm-backend-gone-and-heartbeats").await;
    let llm =
        player.relay.until(|llm| find(llm, "b1").is_some_and(|worker| worker["status"] == "not_ready")).await;
    let worker = find(&llm, "b1").expect("it is there");
    assert_eq!((&worker["max_concurrency"], &worker["host_info"]["hostname"]), (&json!(0), &json!("vm")));
    assert_eq!(worker["host_cpu_percent"], 0.400_801_603_215_105_94);
    // Old agents don't withdraw their models (KD-48 is theirs).
    assert_eq!(llm["models"][0]["name"], "m");
}

// The recording has no end of the answer: the old agent closed before it sent one. KD-6: what
// is half there does not look whole.
#[tokio::test(start_paused = true)]
async fn an_agent_that_drains_keeps_its_stream_until_it_closes() {
    let mut player = Player::new("llm").play("llm-agent-drain").await;
    assert_eq!(player.ends().await[0].ended, Some(false));
    player.relay.until(|llm| find(llm, "b1").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_says_so() {
    let player = Player::new("llm").play("llm-server-shutdown").await;
    player.relay.ended().await;
}

// KD-15: the client's key stays here; the length is that of the body in the message.
#[tokio::test(start_paused = true)]
async fn uploads_go_there_and_back_as_recorded() {
    for (plugin, scene) in [("asr", "asr-transcription"), ("docling", "docling-convert-file")] {
        let gone = &["Authorization", "Content-Length"];
        let mut player = Player { gone, ..Player::new(plugin) }.play(scene).await;
        player.clients_got_it().await;
        assert_eq!(player.ends().await[0].ended, Some(true), "{scene}");
    }
}

//! A server of the protocol's first revision over HTTP, which clients reach as one of today.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use nfrx_testkit::http::{Answer, HttpClient};
use nfrx_testkit::relay::{Relay, patiently};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{Fake, Reply, Seen};
use crate::rig::{CLOCK, Folder, McpAgent, POSTED, Plan, config, header, piece, relay, request};

/// A server with a stream of events at `/sse`.
#[derive(Clone)]
struct Server(Arc<Mutex<State>>);

struct State {
    /// What it names as the address for messages; nothing if empty.
    address: &'static str,
    /// What a message is answered with; 0 for never.
    status: u16,
    streams: Vec<mpsc::Sender<Bytes>>,
}

impl Server {
    fn new() -> (Self, Fake) {
        let state = State { address: "/messages?s=1", status: 202, streams: Vec::new() };
        let server = Self(Arc::new(Mutex::new(state)));
        let state = Arc::clone(&server.0);
        let fake = Fake::new(move |seen| state.lock().expect("no script panics").answer(seen));
        (server, fake)
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().expect("no script panics"));
    }

    /// Says this on the newest stream.
    fn says(&self, message: &Value) {
        self.with(|state| state.writes(&format!("event: message\ndata: {message}\n\n")));
    }

    /// Ends all streams.
    fn ends(&self) {
        self.with(|state| state.streams.clear());
    }
}

impl State {
    fn writes(&self, text: &str) {
        let stream = self.streams.last().expect("one was opened");
        stream.try_send(Bytes::from(text.to_owned())).expect("it is read");
    }

    /// Serves `initialize`; the rest is the test's.
    fn answer(&mut self, seen: &Seen) -> Reply {
        match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/sse") => {
                let (reply, feed) = Reply::events();
                self.streams.push(feed);
                if !self.address.is_empty() {
                    self.writes(&format!(": hello\n\nevent: endpoint\ndata: {}\n\n", self.address));
                }
                return reply;
            }
            ("POST", "/messages?s=1") if self.status == 0 => return Reply::Never,
            ("POST", "/messages?s=1") if self.status == 202 => {}
            ("POST", "/messages?s=1") => return Reply::new(self.status, &[], "no"),
            _ => return Reply::new(405, &[], "no"),
        }
        let message = message(seen);
        if message["method"] == "initialize" {
            let result = json!({ "protocolVersion": "2024-11-05", "capabilities": {} });
            let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
            self.writes(&format!("data: {answer}\r\n\r\n"));
        }
        Reply::new(202, &[], "Accepted")
    }
}

fn message(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap_or_default()
}

/// A relay with an agent before the server.
async fn start(fake: &Fake, more: &[(&str, &str)]) -> (Relay, McpAgent) {
    let relay = relay(config(&[]));
    let mut plan = Plan::new("clock").with("provider_url", "http://10.0.0.5:7777/sse");
    for (id, value) in [("mcp_enable_legacy_sse", "true"), ("mcp_transport_order", "sse")] {
        plan = plan.with(id, value);
    }
    for (id, value) in more {
        plan = plan.with(id, value);
    }
    let agent = plan.join(&relay.entrance(), fake).await;
    (relay, agent)
}

fn post(session: &str, body: &Value) -> http::Request<Bytes> {
    let session = [("mcp-session-id", session)];
    let headers = [POSTED, if session[0].1.is_empty() { &[] } else { &session[..] }].concat();
    request("POST", CLOCK, &headers, body.to_string())
}

fn initialize() -> Value {
    let params = json!({ "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {} });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

fn call(id: u64) -> Value {
    let params = json!({ "name": "now", "_meta": { "progressToken": format!("p{id}") } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

/// Opens a session; gives its id.
async fn open(relay: &Relay) -> String {
    let answer = relay.ask(post("", &initialize())).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.json()["result"]["protocolVersion"], "2024-11-05");
    header(&answer, "mcp-session-id").to_owned()
}

/// An answer's body as it comes, over a connection of its own.
struct Stream {
    body: Incoming,
    /// What came and was not looked at yet.
    rest: String,
    _client: HttpClient,
}

async fn opened(relay: &Relay, request: http::Request<Bytes>) -> Stream {
    let mut client = relay.client().await;
    let answer = patiently(client.send(request)).await.expect("an answer");
    Stream { body: answer.into_body(), rest: String::new(), _client: client }
}

/// The next message of a stream of events that a client reads.
async fn heard(stream: &mut Stream) -> Option<Value> {
    loop {
        while let Some((event, rest)) = stream.rest.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
            let message = (!data.is_empty()).then(|| serde_json::from_str(data).expect("JSON"));
            stream.rest = rest.to_owned();
            if message.is_some() {
                return message;
            }
        }
        stream.rest += &piece(&mut stream.body).await?.expect("a good piece");
    }
}

/// The messages that the server was sent by POST.
fn told(fake: &Fake) -> Vec<Value> {
    fake.seen().iter().filter(|seen| seen.method == "POST").map(message).collect()
}

// Seen to fail: with all messages on the client's own stream, and with the stream kept after
// the session's end.
#[tokio::test(start_paused = true)]
async fn a_session_has_a_stream_of_its_own_and_each_message_its_place() {
    let (server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[]).await;
    let session = open(&relay).await;
    let own = request("GET", CLOCK, &[("accept", "text/event-stream"), ("mcp-session-id", &session)], "");
    let mut own = opened(&relay, own).await;
    let (mut one, mut two) =
        tokio::join!(opened(&relay, post(&session, &call(1))), opened(&relay, post(&session, &call(2))));
    let note =
        json!({ "method": "notifications/progress", "params": { "progressToken": "p2" }, "jsonrpc": "2.0" });
    let ping = json!({ "method": "ping", "id": "s", "jsonrpc": "2.0" });
    fake.until_seen(4).await;
    for said in [&note, &ping] {
        server.says(said);
    }
    for id in [2, 1] {
        server.says(&json!({ "jsonrpc": "2.0", "id": id, "result": { "n": id } }));
    }
    assert_eq!(heard(&mut own).await, Some(ping));
    assert_eq!(heard(&mut two).await, Some(note));
    assert_eq!(heard(&mut two).await.expect("an answer")["result"]["n"], 2);
    assert_eq!(heard(&mut one).await.expect("an answer")["result"]["n"], 1);
    assert_eq!((heard(&mut one).await, heard(&mut two).await), (None, None));
    // The client's answer goes the same way, and the end of its session ends the stream.
    let pong = json!({ "jsonrpc": "2.0", "id": "s", "result": {} });
    assert_eq!(relay.ask(post(&session, &pong)).await.status(), 202);
    fake.until_seen(5).await;
    assert_eq!(told(&fake).last(), Some(&pong));
    let delete = request("DELETE", CLOCK, &[("mcp-session-id", &session)], "");
    assert_eq!(relay.ask(delete).await.status(), 204);
    tokio::time::timeout(Duration::from_secs(1), fake.until_cancelled(1)).await.expect("at once");
    assert_eq!(relay.ask(post(&session, &call(3))).await.status(), 404);
}

// Seen to fail: with any address believed.
#[tokio::test(start_paused = true)]
async fn messages_go_to_the_servers_own_host_only() {
    for address in ["http://elsewhere/messages", "//elsewhere/messages", "https://10.0.0.5:7777/messages"] {
        let (server, fake) = Server::new();
        server.with(|state| state.address = address);
        let (relay, _agent) = start(&fake, &[]).await;
        let refused = relay.ask(post("", &initialize())).await;
        assert_eq!((refused.status().as_u16(), &refused.json()["id"]), (502, &0.into()));
        assert!(refused.text().contains("another host"), "{}", refused.text());
        assert!(told(&fake).is_empty());
    }
    let (server, fake) = Server::new();
    server.with(|state| state.address = "http://10.0.0.5:7777/messages?s=1");
    let (relay, _agent) = start(&fake, &[]).await;
    open(&relay).await;
}

// Seen to fail: without the bound of the opening, and with any answer taken for a stream.
#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_open_is_an_error_in_time() {
    let (server, fake) = Server::new();
    server.with(|state| state.address = "");
    let (relay, _agent) = start(&fake, &[]).await;
    let asking = tokio::time::timeout(Duration::from_secs(12), relay.ask(post("", &initialize())));
    let late = asking.await.expect("a bound");
    assert_eq!(late.status(), 502);
    assert!(late.text().contains("no address within 10 s"), "{}", late.text());
    patiently(fake.until_cancelled(1)).await;
    let fake = Fake::plain();
    let (relay, _agent) = start(&fake, &[]).await;
    let none = relay.ask(post("", &initialize())).await;
    assert_eq!(none.status(), 502);
    assert!(none.text().contains("no stream of events"), "{}", none.text());
}

// Seen to fail: without the reason of the end, and with what was said last lost.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_answers_what_is_open_and_ends_the_session() {
    let (server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[]).await;
    let session = open(&relay).await;
    let mut answer = opened(&relay, post(&session, &call(1))).await;
    fake.until_seen(3).await;
    server.says(&json!({ "jsonrpc": "2.0", "method": "notifications/message" }));
    server.ends();
    assert_eq!(heard(&mut answer).await.expect("said before")["method"], "notifications/message");
    let error = heard(&mut answer).await.expect("an answer");
    assert_eq!((&error["id"], &error["error"]["code"]), (&1.into(), &(-32000).into()));
    assert_eq!(error["error"]["message"], "the MCP server has ended its stream of events");
    assert_eq!(relay.ask(post(&session, &call(2))).await.status(), 404);
    assert_ne!(open(&relay).await, session, "a new one is fine");
}

// Seen to fail: with a refused request left waiting.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_taken_is_answered_if_it_is_a_request() {
    let (server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[]).await;
    let session = open(&relay).await;
    server.with(|state| state.status = 400);
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(relay.ask(post(&session, &note)).await.status(), 202);
    let refused = last(&relay.ask(post(&session, &call(1))).await);
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&1.into(), &(-32000).into()));
    assert!(
        refused["error"]["message"].as_str().is_some_and(|text| text.contains("status 400")),
        "{refused}"
    );
}

/// The last message of a stream that was read whole.
fn last(answer: &Answer) -> Value {
    let text = answer.text();
    let data = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    serde_json::from_str(data).expect("JSON")
}

// Seen to fail: with messages sent as they come, and with each waiting for the one before
// without end.
#[tokio::test(start_paused = true)]
async fn messages_arrive_in_order_and_none_waits_long_for_the_one_before() {
    let (server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[]).await;
    let session = open(&relay).await;
    server.with(|state| state.status = 0);
    let note = |n: u64| json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": { "n": n } });
    for n in 0..3 {
        assert_eq!(relay.ask(post(&session, &note(n))).await.status(), 202);
    }
    fake.until_seen(3).await;
    assert_eq!(told(&fake).last(), Some(&note(0)), "the others wait for it");
    let all = tokio::time::timeout(Duration::from_secs(5), fake.until_seen(5)).await.expect("a bound");
    let sent: Vec<_> = all.iter().map(message).skip(2).collect();
    assert_eq!(sent, [note(0), note(1), note(2)]);
}

// Seen to fail: with the address asked by POST only.
#[tokio::test(start_paused = true)]
async fn an_old_server_is_found_when_nothing_else_works() {
    let (_server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[("mcp_transport_order", "")]).await;
    let session = open(&relay).await;
    assert!(!session.is_empty());
    // What was tried first is not tried again.
    let before = fake.seen().iter().filter(|seen| seen.target == "/sse" && seen.method == "POST").count();
    open(&relay).await;
    let after = fake.seen().iter().filter(|seen| seen.target == "/sse" && seen.method == "POST").count();
    assert_eq!((before, after), (2, 2), "`initialize` and `server/discover`");
}

// Seen to fail: with the headers of the file left out of messages.
#[tokio::test(start_paused = true)]
async fn a_server_of_the_file_gets_its_headers_and_the_agents_token_on_both_ways() {
    let (server, folder) = (Server::new().0, Folder::new("sse"));
    let state = Arc::clone(&server.0);
    let fake = Fake::new(move |seen| match seen.target.as_str() {
        "/token" => Reply::json(r#"{"access_token":"t1"}"#),
        _ => state.lock().expect("no script panics").answer(seen),
    });
    let text = r#"{"mcpServers":{"a":{"type":"sse","url":"http://h/sse","id":"clock","headers":{"X-Key":"k"},
        "oauth":{"tokenUrl":"http://h/token","clientId":"den"}}}}"#;
    let path = folder.write("servers.json", text);
    let relay = relay(config(&[]));
    let plan = Plan::new("den").with("mcp_servers_file", path.to_str().expect("text"));
    let _agent = plan.join(&relay.entrance(), &fake).await;
    open(&relay).await;
    let seen: Vec<_> = fake.seen().into_iter().filter(|seen| seen.target != "/token").collect();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert!(seen.headers["authorization"] == "Bearer t1" && seen.headers["x-key"] == "k");
    }
}

// Seen to fail: with the request of a modern client given to a session.
#[tokio::test(start_paused = true)]
async fn a_modern_client_is_told_to_begin_as_an_old_one_does() {
    let (_server, fake) = Server::new();
    let (relay, _agent) = start(&fake, &[]).await;
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {}, "io.modelcontextprotocol/clientCapabilities": {} });
    let discover =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": { "_meta": meta } });
    let modern = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")];
    let asked = request("POST", CLOCK, &[POSTED, &modern].concat(), discover.to_string());
    let refused = relay.ask(asked).await;
    assert_eq!((refused.status().as_u16(), &refused.json()["error"]["code"]), (400, &(-32000).into()));
    assert!(told(&fake).is_empty());
}

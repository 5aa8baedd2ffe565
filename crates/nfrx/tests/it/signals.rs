//! Stopping, killing and starting again, as an operator or an init system does it.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use nfrx_sim::{Sim, SimConfig, SimHandle};
use nfrx_testkit::http::{HttpClient, Streaming, get, post};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{Process, free_addr, nfrx};

const API_KEY: &str = "api-key-for-tests";
const CLIENT_KEY: &str = "client-key-for-tests";

/// The agent's line once the server has welcomed it.
const CONNECTED: &str = r#""message":"connected""#;

/// A backend, a server and an agent, of which two are processes.
struct Relay {
    sim: SimHandle,
    _sim_task: JoinSet<()>,
    backend: SocketAddr,
    addr: SocketAddr,
    server: Process,
    agent: Process,
}

impl Relay {
    async fn start() -> Self {
        let sim =
            Sim::bind(([127, 0, 0, 1], 0).into(), SimConfig::default()).await.expect("loopback has ports");
        let (backend, handle, mut task) = (sim.addr(), sim.handle(), JoinSet::new());
        task.spawn(async move {
            let _ = sim.serve(std::future::pending()).await;
        });
        let addr = free_addr();
        let server = start_server(addr);
        let agent = start_agent(addr, backend, CLIENT_KEY, "true");
        agent.wait_for(CONNECTED);
        Self { sim: handle, _sim_task: task, backend, addr, server, agent }
    }

    async fn client(&self) -> HttpClient {
        HttpClient::connect(self.addr).await.expect("the server listens")
    }

    /// Begins a stream; it lives as long as its client.
    async fn stream(&self, tokens: u32) -> (HttpClient, Streaming) {
        let mut client = self.client().await;
        let request = post("/v1/chat/completions", Some(API_KEY), &slow_stream(tokens));
        let response = client.send(request).await.expect("the stream begins");
        (client, response)
    }
}

fn start_server(addr: SocketAddr) -> Process {
    let settings = [("API_KEY", API_KEY), ("CLIENT_KEY", CLIENT_KEY), ("LISTEN_ADDR", &addr.to_string())];
    let server = nfrx(&["server"], &settings);
    server.wait_for("ready");
    server
}

fn start_agent(server: SocketAddr, backend: SocketAddr, key: &str, reconnect: &str) -> Process {
    let settings = [
        ("SERVER_URL", &*format!("ws://{server}/api/llm/connect")),
        ("COMPLETION_BASE_URL", &*format!("http://{backend}/v1")),
        ("CLIENT_KEY", key),
        ("RECONNECT", reconnect),
    ];
    nfrx(&["llm"], &settings)
}

/// A stream that lasts until the backend is told to let it end.
fn slow_stream(tokens: u32) -> Value {
    json!({ "model": "demo", "stream": true, "messages": [], "x_sim_tokens": tokens,
            "x_sim_tokens_per_second": 20 })
}

async fn ask(relay: &Relay, body: &Value) -> (u16, String) {
    let mut client = relay.client().await;
    let answer = client.ask(post("/v1/chat/completions", Some(API_KEY), body)).await.expect("an answer");
    (answer.status().as_u16(), answer.text())
}

// Seen to fail: with the drain skipped, the stream breaks off and new work is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_told_to_stop_ends_its_streams_well_refuses_new_work_and_exits_0() {
    let mut relay = Relay::start().await;
    let (_client, response) = relay.stream(40).await;
    let mut other = relay.client().await;
    relay.server.signal("TERM");
    relay.server.wait_for("draining");
    let refused = other.ask(get("/v1/models", Some(API_KEY))).await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), refused.json()["error"]["code"].as_str()),
        (503, Some("draining"))
    );
    let body = response.into_body().collect().await.expect("the stream ends well").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("data: [DONE]"));
    assert_eq!(relay.server.wait().code(), Some(0));
}

// Seen to fail: with a task of a plugin that ignores the drain. Each stop then took 5 s.
#[test]
fn a_server_with_every_plugin_and_nothing_to_do_has_nothing_to_cut() {
    let addr = free_addr().to_string();
    let settings = [
        ("API_KEY", API_KEY),
        ("CLIENT_KEY", CLIENT_KEY),
        ("LISTEN_ADDR", &*addr),
        ("PLUGINS", "llm,asr,docling,mcp"),
    ];
    let mut server = nfrx(&["server"], &settings);
    server.wait_for("ready");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for("stopped");
    assert!(!server.said().contains("cutting what is left"), "{}", server.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_cuts_what_is_left() {
    let mut relay = Relay::start().await;
    let (_client, response) = relay.stream(100_000).await;
    relay.server.signal("TERM");
    relay.server.wait_for("draining");
    relay.server.signal("TERM");
    assert_eq!(relay.server.wait().code(), Some(0));
    assert!(response.into_body().collect().await.is_err(), "a cut stream must not look whole");
    relay.sim.wait_until(|stats| stats.in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_told_to_stop_ends_its_streams_well_and_exits_0() {
    let mut relay = Relay::start().await;
    let (_client, response) = relay.stream(40).await;
    let second = start_agent(relay.addr, relay.backend, CLIENT_KEY, "true");
    second.wait_for(CONNECTED);
    relay.agent.signal("TERM");
    relay.agent.wait_for("draining");
    let (status, text) = ask(&relay, &json!({ "model": "demo", "messages": [] })).await;
    assert_eq!(status, 200, "new work goes to the other agent: {text}");
    let body = response.into_body().collect().await.expect("the stream ends well").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("data: [DONE]"));
    assert_eq!(relay.agent.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_back_by_itself_when_its_server_was_killed_and_started_again() {
    let mut relay = Relay::start().await;
    relay.server.kill();
    relay.server = start_server(relay.addr);
    relay.agent.wait_for_count(CONNECTED, 2);
    let (status, text) = ask(&relay, &json!({ "model": "demo", "messages": [] })).await;
    assert_eq!(status, 200, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_a_wrong_key_says_what_to_fix_and_exits_1() {
    let relay = Relay::start().await;
    let mut stranger = start_agent(relay.addr, relay.backend, "wrong", "false");
    assert_eq!(stranger.wait().code(), Some(1));
    // What it said may be read a little later than it ended.
    stranger.wait_for("CLIENT_KEY");
    let said = stranger.said();
    assert!(said.contains("401") && said.contains("CLIENT_KEY") && !said.contains("wrong\""), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_leaves_no_answer_that_looks_whole() {
    let mut relay = Relay::start().await;
    let (_client, response) = relay.stream(100_000).await;
    relay.agent.kill();
    let result = tokio::time::timeout(Duration::from_secs(60), response.into_body().collect()).await;
    assert!(result.expect("the end is noticed").is_err(), "a cut stream must not look whole");
}

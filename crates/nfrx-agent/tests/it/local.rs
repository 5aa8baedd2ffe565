//! What an agent serves for its operator, over real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nfrx_agent::{AgentState, LocalConfig};
use nfrx_spi::{Body, CallError};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Peer, chunk, patiently, read_all};
use crate::life::{Scene, prepare, until};

const TOKEN: &str = "hunter2";

/// An agent that listens, and what to remove at the end.
struct Stand {
    scene: Scene,
    status: SocketAddr,
    metrics: SocketAddr,
    token: PathBuf,
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.token);
    }
}

impl Stand {
    /// An agent that is connected and ready.
    async fn new(name: &str, drain_timeout: Option<Duration>) -> Self {
        let stand = Self::with(name, true, drain_timeout).await;
        until(&stand.scene.status, AgentState::ConnectedIdle).await;
        stand
    }

    /// An agent whose backend is there or not.
    async fn with(name: &str, there: bool, drain_timeout: Option<Duration>) -> Self {
        let token = std::env::temp_dir().join(format!("nfrx-local-{}-{name}.token", std::process::id()));
        std::fs::write(&token, TOKEN).expect("the temporary folder can be written");
        let free = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let local = LocalConfig { status: free, metrics: free, token_files: vec![token.clone()] };
        let mut prepared = prepare(Some(there), drain_timeout, local);
        prepared.agent.bind().await.expect("loopback has ports");
        let status = prepared.agent.status_addr().expect("it is bound");
        let metrics = prepared.agent.metrics_addr().expect("it is bound");
        let scene = prepared.start();
        Self { scene, status, metrics, token }
    }

    async fn order(&self, order: &str) -> u16 {
        ask(self.status, &format!("POST /control/{order}"), &[("X-Auth-Token", TOKEN)]).await.0
    }

    /// A request that is with the backend: its answer has begun.
    async fn running(&mut self) -> (http::Response<Body>, Peer<tokio::io::DuplexStream>) {
        let (answer, peer) = tokio::join!(self.scene.relay.call("{}"), async {
            let mut peer = self.scene.backend.accept().await;
            peer.request().await;
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
            peer
        });
        (answer.expect("an answer"), peer)
    }

    /// The value of a series without labels.
    async fn metric(&self, name: &str) -> f64 {
        let (status, text) = ask(self.metrics, "GET /metrics", &[]).await;
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().expect("a number")
    }
}

/// One request on a connection of its own; status and body of the answer.
async fn ask(addr: SocketAddr, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.expect("the agent listens");
    let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if headers.iter().all(|(name, _)| *name != "Host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await.expect("the agent reads");
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.expect("a whole answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, body.to_owned())
}

#[tokio::test]
async fn the_status_is_told_as_desktop_apps_ask_for_it() {
    let stand = Stand::new("status", None).await;
    let (status, text) = ask(stand.status, "GET /status", &[]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &document["state"]), (200, &"connected_idle".into()));
    assert_eq!((&document["worker_id"], &document["labels"][0]), (&"w-1".into(), &"phi".into()));
    assert_eq!((&document["current_jobs"], &document["max_concurrency"]), (&0.into(), &3.into()));
    let (_, text) = ask(stand.status, "GET /version", &[]).await;
    let version: Value = serde_json::from_str(&text).expect("JSON");
    assert!(version["Version"].is_string() && version["BuildSHA"].is_string() && text.ends_with('\n'));
    assert_eq!(ask(stand.status, "GET /else", &[]).await, (404, "404 page not found\n".to_owned()));
}

#[tokio::test]
async fn orders_need_the_method_the_token_and_no_page_behind_them() {
    let stand = Stand::new("refused", None).await;
    let token = ("X-Auth-Token", TOKEN);
    for (line, headers, expected) in [
        ("GET /control/drain", vec![token], 405),
        ("POST /control/drain", vec![token, ("Origin", "http://localhost")], 403),
        ("POST /control/drain", vec![token, ("Host", "evil.example")], 403),
        ("POST /control/drain", vec![("X-Auth-Token", "hunter3")], 401),
        ("POST /control/drain", vec![], 401),
        ("POST /control/stop", vec![token], 404),
        ("GET /status", vec![("Host", "evil.example")], 403),
    ] {
        // Seen to fail: without the look at the host.
        assert_eq!(ask(stand.status, line, &headers).await.0, expected, "{line} {headers:?}");
    }
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
}

#[tokio::test]
async fn a_drain_offers_nothing_until_it_is_taken_back() {
    let mut stand = Stand::new("undrain", None).await;
    let (answer, mut peer) = stand.running().await;
    assert_eq!(stand.order("drain").await, 200);
    stand.scene.relay.until(|worker| worker.max_concurrency == 0).await;
    until(&stand.scene.status, AgentState::Draining).await;
    // Seen to fail: without the wrapper around the service.
    let refused = patiently(stand.scene.relay.call("{}")).await.expect_err("it is held");
    assert_eq!(refused, CallError::Draining);
    assert_eq!(stand.metric("nfrx_worker_max_concurrency").await, 0.0);

    assert_eq!(stand.order("undrain").await, 200);
    stand.scene.relay.until(|worker| worker.max_concurrency == 3).await;
    until(&stand.scene.status, AgentState::ConnectedBusy).await;
    peer.write(" last").await;
    assert_eq!(read_all(answer.into_body()).await.0, "first last");
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
}

#[tokio::test]
async fn a_drain_ends_the_agent_once_nothing_runs() {
    let mut stand = Stand::new("drain", None).await;
    let (answer, mut peer) = stand.running().await;
    assert_eq!(stand.order("drain").await, 200);
    until(&stand.scene.status, AgentState::Draining).await;
    peer.write(" last").await;
    assert_eq!(read_all(answer.into_body()).await.0, "first last");
    assert!(patiently(&mut stand.scene.ended).await.expect("it ran"), "the agent ended well");
    stand.scene.relay.until(|worker| worker.left).await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut() {
    let mut stand = Stand::new("late", Some(Duration::from_millis(50))).await;
    let (answer, _peer) = stand.running().await;
    // Read, so that the relay has no reason of its own to cut it.
    let mut body = answer.into_body();
    chunk(&mut body).await;
    assert_eq!(stand.order("drain").await, 200);
    assert!(patiently(&mut stand.scene.ended).await.expect("it ran"));
    assert!(read_all(body).await.1.is_some(), "a cut answer must not end well");
}

#[tokio::test]
async fn a_shutdown_lets_what_runs_end() {
    let mut stand = Stand::new("shutdown", None).await;
    let (answer, mut peer) = stand.running().await;
    assert_eq!(stand.order("shutdown").await, 200);
    until(&stand.scene.status, AgentState::Draining).await;
    peer.write(" last").await;
    assert_eq!(read_all(answer.into_body()).await.0, "first last");
    assert!(patiently(&mut stand.scene.ended).await.expect("it ran"), "the agent ended well");
}

#[tokio::test]
async fn each_metric_moves_as_its_name_says() {
    let mut stand = Stand::with("metrics", false, None).await;
    until(&stand.scene.status, AgentState::NotReady).await;
    assert_eq!(stand.metric("nfrx_worker_connected_to_server").await, 1.0);
    assert_eq!(stand.metric("nfrx_worker_connected_to_backend").await, 0.0);
    assert_eq!(stand.metric("nfrx_worker_link_failures_total{reason=\"flood\"}").await, 0.0);
    assert_eq!(stand.metric("nfrx_worker_max_concurrency").await, 0.0);
    stand.scene.there.send_replace(Some(true));
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
    for name in ["nfrx_worker_connected_to_server", "nfrx_worker_connected_to_backend"] {
        assert_eq!(stand.metric(name).await, 1.0, "{name}");
    }
    assert_eq!(stand.metric("nfrx_worker_max_concurrency").await, 3.0);
    let (answer, mut peer) = stand.running().await;
    assert_eq!(stand.metric("nfrx_worker_current_jobs").await, 1.0);
    assert_eq!(stand.metric("nfrx_worker_jobs_started_total").await, 1.0);
    assert_eq!(stand.metric("nfrx_worker_jobs_succeeded_total").await, 0.0);
    peer.write(" last").await;
    read_all(answer.into_body()).await;
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
    drop(peer);
    // Seen to fail: without the word of how an answer ended.
    assert_eq!(stand.metric("nfrx_worker_jobs_succeeded_total").await, 1.0);
    assert_eq!(stand.metric("nfrx_worker_job_duration_seconds_count").await, 1.0);

    // The backend breaks off.
    let (answer, peer) = stand.running().await;
    drop(peer);
    read_all(answer.into_body()).await;
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
    assert_eq!(stand.metric("nfrx_worker_jobs_failed_total").await, 1.0);

    // The caller leaves: nobody failed.
    let (answer, peer) = stand.running().await;
    drop(answer);
    peer.closed().await;
    until(&stand.scene.status, AgentState::ConnectedIdle).await;
    let ended = [
        "nfrx_worker_jobs_started_total",
        "nfrx_worker_jobs_succeeded_total",
        "nfrx_worker_jobs_failed_total",
    ];
    for (name, expected) in ended.into_iter().zip([3.0, 1.0, 1.0]) {
        assert_eq!(stand.metric(name).await, expected, "{name}");
    }
    assert!(stand.metric("process_start_time_seconds").await > 0.0);
}

#[tokio::test]
async fn an_address_that_is_taken_stops_the_start() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let addr = taken.local_addr().ok();
    let local = LocalConfig { metrics: addr, ..LocalConfig::default() };
    let error = prepare(Some(true), None, local).agent.bind().await.expect_err("it is taken");
    assert!(error.to_string().contains("for metrics"), "{error}");
}

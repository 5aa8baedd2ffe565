//! A whole agent between a relay and a backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use nfrx_agent::client::BackendClient;
use nfrx_agent::{
    Agent, AgentConfig, AgentParts, AgentState, AllowList, Backend, BaseUrl, Found, LocalConfig, ProbeError,
    StatusBoard,
};
use nfrx_runtime::Drain;
use nfrx_spi::{BoxFuture, CallError};
use tokio::sync::{oneshot, watch};

use crate::backend::{PipeBackend, patiently, pipes, read_all};
use crate::relay::Relay;

const PRIVATE: &str = "10.0.0.5";

/// A backend that is there, away, or (`None`) never says.
struct Switch(watch::Receiver<Option<bool>>);

impl Backend for Switch {
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>> {
        let there = *self.0.borrow();
        Box::pin(async move {
            match there {
                Some(true) => Ok(Found { models: vec!["phi".to_owned()], agent_config: BTreeMap::new() }),
                Some(false) => Err(ProbeError(format!("probe http://{PRIVATE}/v1/models: refused"))),
                None => std::future::pending().await,
            }
        })
    }
}

pub(crate) struct Scene {
    pub(crate) relay: Relay,
    pub(crate) backend: PipeBackend,
    pub(crate) there: watch::Sender<Option<bool>>,
    pub(crate) status: StatusBoard,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: oneshot::Receiver<bool>,
    _tasks: Drain,
}

/// An agent that is not started yet.
pub(crate) struct Prepared {
    relay: Relay,
    backend: PipeBackend,
    there: watch::Sender<Option<bool>>,
    pub(crate) agent: Agent,
}

/// Starts an agent; `ended` tells whether it ended well.
fn start(there: Option<bool>, drain_timeout: Option<Duration>) -> Scene {
    prepare(there, drain_timeout, LocalConfig::default()).start()
}

pub(crate) fn prepare(there: Option<bool>, drain_timeout: Option<Duration>, local: LocalConfig) -> Prepared {
    let relay = Relay::new();
    let (connector, backend) = pipes();
    let base = BaseUrl::parse(&format!("http://{PRIVATE}:11434/v1")).expect("an address");
    let client = BackendClient::with_connector(base, Arc::new(connector), None).expect("a client");
    let (there, switch) = watch::channel(there);
    let config = AgentConfig {
        server_url: "ws://relay.example/api/llm/connect".to_owned(),
        client_key: None,
        worker_id: "w-1".to_owned(),
        worker_name: "den".to_owned(),
        max_concurrency: 3,
        request_timeout: None,
        drain_timeout,
        reconnect: false,
        local,
    };
    let parts = AgentParts {
        client,
        key: None,
        backend: Arc::new(Switch(switch)),
        allowed: AllowList::new().exact(Method::POST, "/chat"),
        poll_interval: Duration::from_secs(60),
    };
    let agent = Agent::new(config, parts).expect("a good address").with_connect(Arc::new(relay.clone()));
    Prepared { relay, backend, there, agent }
}

impl Prepared {
    pub(crate) fn start(self) -> Scene {
        let Self { relay, backend, there, agent } = self;
        let (status, tasks) = (agent.status(), Drain::new());
        let ((stop, stopped), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        tasks.spawn("agent", async move {
            let result = agent.run(async { drop(stopped.await) }).await;
            let _ = end.send(result.is_ok());
        });
        Scene { relay, backend, there, status, stop, ended, _tasks: tasks }
    }
}

pub(crate) async fn until(status: &StatusBoard, state: AgentState) {
    let mut watch = status.watch();
    patiently(watch.wait_for(|status| status.state() == state)).await.expect("the agent is there");
}

#[tokio::test(start_paused = true)]
async fn a_request_passes_and_the_state_follows() {
    let mut scene = start(Some(true), None);
    let worker = scene.relay.until(|worker| worker.tunnel.is_some()).await;
    assert_eq!((worker.models, worker.max_concurrency), (vec!["phi".to_owned()], 3));
    until(&scene.status, AgentState::ConnectedIdle).await;
    let (answer, ()) = tokio::join!(scene.relay.call("{}"), async {
        let mut peer = scene.backend.accept().await;
        assert_eq!(peer.request().await.line, "POST /v1/chat HTTP/1.1");
        until(&scene.status, AgentState::ConnectedBusy).await;
        peer.answer("hello").await;
    });
    assert_eq!(read_all(answer.expect("an answer").into_body()).await.0, "hello");
    until(&scene.status, AgentState::ConnectedIdle).await;
    scene.relay.until(|worker| worker.heartbeats > 0).await;
    assert!(scene.status.watch().borrow().last_heartbeat.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lost_backend_is_withdrawn_and_nothing_private_is_said() {
    let mut scene = start(Some(true), None);
    scene.relay.until(|worker| worker.max_concurrency == 3).await;
    scene.there.send_replace(Some(false));
    let worker = scene.relay.until(|worker| worker.max_concurrency == 0).await;
    assert!(worker.models.is_empty());
    until(&scene.status, AgentState::NotReady).await;
    assert!(scene.status.watch().borrow().last_error.contains(PRIVATE), "the operator is told");

    // A request that was under way is answered with a code.
    let (answer, ()) = tokio::join!(scene.relay.call("{}"), async {
        drop(scene.backend.accept().await);
    });
    assert_eq!(answer.expect_err("broken"), CallError::Upstream);

    scene.there.send_replace(Some(true));
    let worker = scene.relay.until(|worker| worker.max_concurrency == 3 && worker.heartbeats > 0).await;
    // Seen to fail: with the probe's error as the offer's status.
    assert!(!worker.said.contains(PRIVATE) && !worker.said.contains("refused"), "{}", worker.said);
}

// Seen to fail: with the link dropped at the stop.
#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_runs_end_and_takes_nothing_new() {
    let mut scene = start(Some(true), Some(Duration::from_secs(60)));
    scene.relay.until(|worker| worker.max_concurrency == 3).await;
    let (answer, mut peer) = tokio::join!(scene.relay.call("{}"), async {
        let mut peer = scene.backend.accept().await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
        peer
    });
    scene.stop.send(()).expect("the agent runs");
    scene.relay.until(|worker| worker.max_concurrency == 0).await;
    until(&scene.status, AgentState::Draining).await;
    assert_eq!(scene.relay.call("{}").await.expect_err("refused"), CallError::Draining);
    peer.write(" last").await;
    let (text, error) = read_all(answer.expect("an answer").into_body()).await;
    assert!(error.is_none(), "{error:?} after `{text}`");
    assert_eq!(text, "first last");
    assert!(patiently(scene.ended).await.expect("it ran"), "the agent ended well");
    scene.relay.until(|worker| worker.left).await;
    assert_eq!(scene.status.watch().borrow().state(), AgentState::Terminating);
}

#[tokio::test(start_paused = true)]
async fn what_outlives_the_drain_timeout_is_cut_and_does_not_look_whole() {
    let mut scene = start(Some(true), Some(Duration::from_secs(5)));
    scene.relay.until(|worker| worker.max_concurrency == 3).await;
    let (answer, peer) = tokio::join!(scene.relay.call("{}"), async {
        let mut peer = scene.backend.accept().await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        peer
    });
    scene.stop.send(()).expect("the agent runs");
    assert!(patiently(scene.ended).await.expect("it ran"));
    let (text, error) = read_all(answer.expect("an answer").into_body()).await;
    assert_eq!(text, "first");
    assert!(error.is_some(), "a cut answer must not end well");
    peer.closed().await;
}

// Seen to fail: without the look at `stop` the agent waits for its probe first.
#[tokio::test(start_paused = true)]
async fn a_stop_during_the_first_probe_ends_the_agent_at_once() {
    let scene = start(None, None);
    let start = tokio::time::Instant::now();
    scene.stop.send(()).expect("the agent runs");
    assert!(patiently(scene.ended).await.expect("it ran"));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_reconnect_a_lost_server_ends_the_agent_with_an_error() {
    let scene = start(Some(true), None);
    let tunnel = scene.relay.until(|worker| worker.tunnel.is_some()).await.tunnel.expect("just seen");
    tunnel.close(nfrx_spi::CloseReason::Disconnected);
    assert!(!patiently(scene.ended).await.expect("it ran"));
    let status = scene.status.watch();
    assert_eq!(status.borrow().state(), AgentState::Error);
    assert!(status.borrow().last_error.contains("operator"), "{:?}", status.borrow().last_error);
}

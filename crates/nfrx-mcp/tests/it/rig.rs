//! A relay, its agents, and how a test asks.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use nfrx_agent::client::BackendClient;
use nfrx_agent::{AgentConfig, AgentStatus, BaseUrl, StatusBoard};
use nfrx_mcp::McpFactory;
use nfrx_mcp::agent::{Clients, McpConfig, agent_with, mcp_agent_specs};

use nfrx_spi::{PluginFactory, PluginOptions};
use nfrx_testkit::http::Answer;
use nfrx_testkit::pipe::{PipeControl, PipeOptions};
use nfrx_testkit::relay::{API_KEY, Carrier, Dialer, Entrance, Relay, ServerConfig, WORKER_KEY, patiently};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::fake::Fake;

/// Where the server `clock` is called.
pub(crate) const CLOCK: &str = "/api/mcp/id/clock";

/// A server with a key on each side and these options of the MCP plugin.
pub(crate) fn config(mcp: &[(&str, &str)]) -> ServerConfig {
    let mut config = nfrx_testkit::relay::config(&[]);
    let values = mcp.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned()));
    let options = PluginOptions::new(McpFactory.descriptor().args, values.collect());
    config.plugin_options.insert("mcp".to_owned(), options);
    config
}

pub(crate) fn plugins() -> Vec<Box<dyn PluginFactory>> {
    vec![Box::new(McpFactory)]
}

/// Starts a relay.
pub(crate) fn relay(config: ServerConfig) -> Relay {
    Relay::of(config, plugins(), Entrance::new())
}

/// A relay with an agent before `fake`, whose public id is `clock`.
pub(crate) async fn clock(fake: &Fake) -> (Relay, McpAgent) {
    let relay = relay(config(&[]));
    let agent = Plan::new("clock").join(&relay.entrance(), fake).await;
    (relay, agent)
}

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nfrx-mcp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        Self(folder)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("it is ours");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What an agent is to be.
#[derive(Clone)]
pub(crate) struct Plan {
    id: String,
    options: Vec<(String, String)>,
    carrier: Carrier,
}

impl Plan {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), options: Vec::new(), carrier: Carrier::H2 }
    }

    /// Over what servers of the old release speak.
    pub(crate) fn over_v1(mut self) -> Self {
        self.carrier = Carrier::V1;
        self
    }

    /// Sets an option of `nfrx mcp`.
    pub(crate) fn with(mut self, id: &str, value: &str) -> Self {
        self.options.push((id.to_owned(), value.to_owned()));
        self
    }

    /// What `nfrx mcp` reads.
    pub(crate) fn settings(&self) -> (AgentConfig, McpConfig) {
        let mut values = vec![
            ("server_url".to_owned(), "ws://localhost/api/mcp/connect".to_owned()),
            ("client_key".to_owned(), WORKER_KEY.to_owned()),
            ("client_id".to_owned(), self.id.clone()),
            ("reconnect".to_owned(), "true".to_owned()),
            ("provider_url".to_owned(), "http://10.0.0.5:7777/mcp".to_owned()),
        ];
        values.extend(self.options.iter().cloned());
        let options = PluginOptions::new(mcp_agent_specs(), values.into_iter().collect());
        let config = AgentConfig::from_options(&options).expect("tests write valid options");
        let mut mcp = McpConfig::from_options(&options).expect("tests write valid options");
        mcp.stdio.supervisor = crate::stand::supervisor();
        (config, mcp)
    }

    /// Starts it; it dials at `entrance`.
    pub(crate) fn start(self, entrance: &Entrance, fake: &Fake) -> McpAgent {
        let (config, mcp) = self.settings();
        let dials = Dialer::new(entrance, PipeOptions::default()).carrying(self.carrier);
        let agent = agent_with(config, mcp, clients(fake)).expect("a valid address");
        McpAgent::run(agent.with_connect(Arc::new(dials.clone())), dials)
    }

    /// Starts it and waits until it is connected.
    pub(crate) async fn join(self, entrance: &Entrance, fake: &Fake) -> McpAgent {
        let agent = self.start(entrance, fake);
        agent.until(|status| status.connected_to_server).await;
        agent
    }
}

/// Clients that reach `fake`, whatever the address.
pub(crate) fn clients(fake: &Fake) -> Clients {
    let fake = fake.clone();
    Arc::new(move |base: &BaseUrl| BackendClient::with_connector(base.clone(), Arc::new(fake.clone()), None))
}

/// A running agent. Dropping it kills it.
pub(crate) struct McpAgent {
    status: StatusBoard,
    dials: Dialer,
    stop: Option<oneshot::Sender<()>>,
    task: JoinSet<Result<(), String>>,
}

impl McpAgent {
    fn run(agent: nfrx_agent::Agent, dials: Dialer) -> Self {
        let (status, mut task) = (agent.status(), JoinSet::new());
        let (stop, stopped) = oneshot::channel();
        task.spawn(async move {
            let stop = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            agent.run(stop).await.map_err(|error| error.to_string())
        });
        Self { status, dials, stop: Some(stop), task }
    }

    /// Waits until it knows of itself what `reached` wants.
    pub(crate) async fn until(&self, reached: impl FnMut(&AgentStatus) -> bool) -> AgentStatus {
        let mut watch = self.status.watch();
        patiently(watch.wait_for(reached)).await.expect("the board is ours").clone()
    }

    /// The connection it made last.
    pub(crate) fn tunnel(&self) -> PipeControl {
        self.dials.made().pop().expect("it has dialed")
    }

    /// How many connections it made.
    pub(crate) fn dialed(&self) -> usize {
        self.dials.made().len()
    }

    /// Waits for its own end.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        patiently(self.task.join_next()).await.expect("it was started").expect("it does not panic")
    }

    /// Stops it as a signal does.
    pub(crate) fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it runs");
    }

    /// Kills it.
    pub(crate) fn kill(self) {}
}

/// A request with the clients' key, headers and a body.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Bytes> {
    let has_key = headers.iter().any(|(name, _)| matches!(*name, "authorization" | "x-nfrx-key"));
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "relay.test");
    }
    if !has_key {
        builder = builder.header("authorization", format!("Bearer {API_KEY}"));
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("tests write valid requests")
}

/// What clients of the protocol send with a POST.
pub(crate) fn post(body: impl Into<Bytes>) -> Request<Bytes> {
    request("POST", CLOCK, POSTED, body)
}

pub(crate) const POSTED: &[(&str, &str)] =
    &[("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

/// Opens the stream of a legacy session.
pub(crate) fn listen() -> Request<Bytes> {
    request("GET", CLOCK, &[("accept", "text/event-stream"), ("mcp-session-id", "s-1")], "")
}

/// The next piece of a body as text; `None` at its clean end, an error at a broken one.
pub(crate) async fn piece(body: &mut Incoming) -> Option<Result<String, hyper::Error>> {
    let frame = patiently(body.frame()).await?;
    Some(frame.map(|frame| {
        let data = frame.into_data().expect("no trailers");
        String::from_utf8(data.to_vec()).expect("text")
    }))
}

/// Reads until so many bytes are there.
pub(crate) async fn read(body: &mut Incoming, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &piece(body).await.expect("more").expect("a good piece");
    }
    text
}

/// A header's value as text; empty when there is none.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// Waits until the MCP part of the state is as `reached` wants it.
pub(crate) async fn until_state(
    relay: &Relay,
    reached: impl FnMut(&serde_json::Value) -> bool,
) -> serde_json::Value {
    relay.until_part("mcp", reached).await
}

//! The plugin in a real server, on real sockets, with a real agent.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use nfrx_echo::EchoFactory;
use nfrx_runtime::Drain;
use nfrx_server::{Server, ServerConfig};
use nfrx_spi::{Body, BoxFuture, CallError, Heartbeat, PluginFactory, Secret};
use nfrx_testkit::http::{Answer, HttpClient, get, post};
use nfrx_tunnel::{
    AgentService, Identity, LinkConfig, LinkParts, LinkState, Offer, ServerUrl, TcpConnect, keep_connected,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const API_KEY: Option<&str> = Some("api-key-for-tests");

/// Says the body back in capitals, with the path it came by.
struct Shout;

impl AgentService for Shout {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.map_err(|_| CallError::RequestBody)?.to_bytes();
            let text = String::from_utf8_lossy(&body).to_uppercase();
            Ok(Response::new(Body::from(format!("{path} {text}"))))
        })
    }
}

struct Relay {
    addr: SocketAddr,
    drain: Drain,
}

impl Relay {
    async fn start(plugins: Vec<Box<dyn PluginFactory>>) -> Self {
        let mut config = ServerConfig::local();
        config.login.api.key = API_KEY.map(Secret::new);
        config.login.workers.key = Some(Secret::new("client-key-for-tests"));
        let server = Server::bind(config, plugins).await.expect("it starts");
        let addr = server.addr().expect("it has a port");
        let drain = Drain::new();
        drain.spawn("server", server.serve(std::future::pending(), std::future::pending()));
        Self { addr, drain }
    }

    /// Connects an agent and waits until it is welcomed.
    async fn agent(&self, id: &str) {
        let url = ServerUrl::parse(&format!("ws://{}/api/echo/connect", self.addr)).expect("an address");
        let link = LinkConfig {
            connect: Arc::new(TcpConnect::new(&url).expect("no TLS")),
            url,
            key: Some(Secret::new("client-key-for-tests")),
            identity: Identity { worker_id: id.to_owned(), ..Identity::default() },
            reconnect: false,
        };
        let (_offer, offers) = watch::channel(Offer::default());
        let (state, mut states) = watch::channel(LinkState::Connecting);
        let parts = LinkParts {
            offer: offers,
            service: Arc::new(Shout),
            heartbeat: Arc::new(Heartbeat::default),
            drain: self.drain.watch(),
            state,
        };
        self.drain.spawn("agent", async move {
            let _offer = _offer;
            keep_connected(link, parts).await.expect("the link stands");
        });
        let connected = |state: &LinkState| matches!(state, LinkState::Connected { .. });
        states.wait_for(connected).await.expect("the agent is welcomed");
    }

    async fn ask(&self, request: Request<Bytes>) -> Answer {
        let mut client = HttpClient::connect(self.addr).await.expect("it listens");
        client.ask(request).await.expect("an answer")
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_of_plugins() {
    nfrx_testkit::contract::check(|| Box::new(EchoFactory)).await;
}

#[tokio::test]
async fn a_request_reaches_the_agent_it_names_and_comes_back() {
    let relay = Relay::start(vec![Box::new(EchoFactory)]).await;
    relay.agent("den").await;
    let answer = relay.ask(post("/api/echo/id/den/a/b", API_KEY, &json!("hi"))).await;
    assert_eq!(answer.text(), "/a/b \"HI\"");
    let unknown = relay.ask(post("/api/echo/id/attic/a", API_KEY, &json!("hi"))).await;
    assert_eq!((unknown.status().as_u16(), unknown.text().as_str()), (404, "no worker\n"));
    let state = relay.ask(get("/api/state", API_KEY)).await.json();
    assert_eq!(state["plugins"]["echo"]["agents"], json!(["den"]));
}

#[tokio::test]
async fn each_route_has_its_own_access() {
    let relay = Relay::start(vec![Box::new(EchoFactory)]).await;
    assert_eq!(relay.ask(get("/api/echo/hello", None)).await.text(), "hello\n");
    assert_eq!(relay.ask(post("/api/echo/say", None, &json!(1))).await.status(), 401);
    assert_eq!(relay.ask(post("/api/echo/say", API_KEY, &json!(1))).await.text(), "1");
    assert_eq!(relay.ask(post("/echo/say", API_KEY, &json!(1))).await.text(), "1", "the mount");
    let admin = relay.ask(get("/api/echo/agents", API_KEY)).await.status();
    assert!(admin == 401 || admin == 403, "a plain key is no admin's: {admin}");
}

#[tokio::test]
async fn an_upgraded_connection_echoes_bytes() {
    let relay = Relay::start(vec![Box::new(EchoFactory)]).await;
    let mut socket = TcpStream::connect(relay.addr).await.expect("it listens");
    let head = format!(
        "GET /api/echo/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: nfrx-echo\r\n\
         Authorization: Bearer {}\r\n\r\nping",
        API_KEY.unwrap_or_default()
    );
    socket.write_all(head.as_bytes()).await.expect("it reads");
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nping") {
        assert!(socket.read_buf(&mut read).await.expect("it answers") > 0, "closed: {read:?}");
    }
    assert!(read.starts_with(b"HTTP/1.1 101"));
}

#[tokio::test]
async fn without_the_plugin_its_routes_and_state_are_gone_and_nothing_else() {
    let relay = Relay::start(Vec::new()).await;
    assert_eq!(relay.ask(get("/api/echo/hello", API_KEY)).await.status(), 404);
    assert_eq!(relay.ask(post("/echo/say", API_KEY, &json!(1))).await.status(), 404);
    assert_eq!(relay.ask(get("/healthz", None)).await.status(), 200);
    let state = relay.ask(get("/api/state", API_KEY)).await.json();
    assert!(state["plugins"]["echo"].is_null() && !state["plugins"]["server"].is_null(), "{state}");
}

//! A relay's end and an agent's end in one process, with a stand-in for the pool.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use nfrx_runtime::{Drain, TokioClock};
use nfrx_spi::{
    Body, BodyError, BoxFuture, CallError, Caller, Dialect, Heartbeat, JoinRefused, Joined, Membership,
    Newcomer, PathParams, Registration, RequestContext, RequestId, Shared, StatusUpdate, Tunnel, Upgrade,
    WorkerIntake,
};
use nfrx_tunnel::{
    Acceptor, AgentService, Connect, Connection, Identity, LinkConfig, LinkError, LinkParts, LinkState,
    Offer, ServerUrl, TunnelSettings, keep_connected,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pipe::pipe;

/// Longer than anything here may take, on the paused clock.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the stand-in for the pool was told.
#[derive(Default, Clone)]
pub(crate) struct Seen {
    pub(crate) joins: Vec<(Registration, Option<String>)>,
    pub(crate) tunnel: Option<Arc<dyn Tunnel>>,
    pub(crate) opened: usize,
    pub(crate) updates: Vec<StatusUpdate>,
    pub(crate) heartbeats: usize,
    pub(crate) left: usize,
}

/// A pool of one worker.
#[derive(Default, Clone)]
pub(crate) struct Pool {
    seen: Arc<watch::Sender<Seen>>,
    refusal: Arc<Mutex<Option<JoinRefused>>>,
}

impl Pool {
    pub(crate) fn refuse(&self, refusal: JoinRefused) {
        *self.refusal.lock().expect("unpoisoned") = Some(refusal);
    }

    pub(crate) async fn until(&self, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let found = tokio::time::timeout(PATIENCE, seen.wait_for(condition)).await;
        found.expect("the pool sees it in time").expect("the pool lives").clone()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }
}

impl WorkerIntake for Pool {
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        if let Some(refusal) = self.refusal.lock().expect("unpoisoned").clone() {
            return Err(refusal);
        }
        self.seen.send_modify(|seen| {
            seen.joins.push((newcomer.registration, newcomer.resume));
            seen.tunnel = Some(newcomer.tunnel);
        });
        Ok(Joined {
            worker_id: "w1".to_owned(),
            epoch: 1,
            resume: "token".to_owned(),
            membership: Box::new(Place(self.clone())),
        })
    }
}

struct Place(Pool);

impl Membership for Place {
    fn open(&self) {
        self.0.seen.send_modify(|seen| seen.opened += 1);
    }

    fn update(&self, update: StatusUpdate) {
        self.0.seen.send_modify(|seen| seen.updates.push(update));
    }

    fn heartbeat(&self, _: Heartbeat) {
        self.0.seen.send_modify(|seen| seen.heartbeats += 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| {
            seen.left += 1;
            seen.tunnel = None;
        });
    }
}

/// The server's side.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) pool: Pool,
    pub(crate) tasks: Drain,
}

impl Relay {
    pub(crate) fn new(settings: TunnelSettings) -> Self {
        let (pool, tasks) = (Pool::default(), Drain::new());
        let acceptor = Acceptor::new(
            settings,
            Arc::new(pool.clone()),
            Arc::new(tasks.clone()),
            Arc::new(TokioClock::new()),
            &Shared::default(),
        );
        Self { acceptor: Arc::new(acceptor), pool, tasks }
    }

    /// Reads one request off a connection and answers as a server would, with the bytes
    /// behind it left for the tunnel.
    pub(crate) async fn take(self, mut io: DuplexStream) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await?);
        }
        let (given, taken) = oneshot::channel::<DuplexStream>();
        let upgraded = async move { taken.await.map(|io| Box::pin(io) as _).map_err(io::Error::other) };
        let mut request = parse(&head);
        request.extensions_mut().insert(Upgrade::new(Box::pin(upgraded)));
        let response = match self.acceptor.upgrade(request, context()) {
            Ok(response) => response,
            Err(error) => error.response(Dialect::Text),
        };
        let (parts, body) = response.into_parts();
        let mut text = format!("HTTP/1.1 {} x\r\n", parts.status.as_u16());
        for (name, value) in &parts.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
        }
        text.push_str("\r\n");
        io.write_all(text.as_bytes()).await?;
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        io.write_all(&body).await?;
        let _ = given.send(io);
        Ok(())
    }
}

fn parse(head: &[u8]) -> Request<Body> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).expect("a request head");
    let mut request = Request::new(Body::empty());
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = parsed.path.expect("a path").parse().expect("a path");
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_bytes(header.value).expect("a value"));
    }
    request
}

pub(crate) fn context() -> RequestContext {
    RequestContext {
        id: RequestId::new("r1"),
        caller: Caller { peer: ([127, 0, 0, 1], 9).into(), key: None, scopes: Arc::default() },
        dialect: Dialect::Text,
        params: PathParams::default(),
    }
}

/// The way to the relay: each connection is a new pipe.
pub(crate) struct Way {
    pub(crate) relay: Mutex<Option<Relay>>,
    pub(crate) delay: Duration,
    pub(crate) dead: watch::Sender<bool>,
    pub(crate) dials: watch::Sender<usize>,
    /// Answers instead of the relay.
    pub(crate) answer: Option<&'static str>,
}

impl Connect for Way {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            self.dials.send_modify(|dials| *dials += 1);
            let Some(relay) = self.relay.lock().expect("unpoisoned").clone() else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (ours, theirs) = match self.delay {
                Duration::ZERO if !*self.dead.borrow() && self.dead.receiver_count() == 0 => {
                    tokio::io::duplex(4096)
                }
                delay => pipe(&relay.tasks, delay, self.dead.subscribe()),
            };
            let (tasks, answer) = (relay.tasks.clone(), self.answer);
            tasks.spawn("connection", async move {
                let _ = match answer {
                    Some(answer) => instead(theirs, answer).await,
                    None => relay.take(theirs).await,
                };
            });
            Ok(Box::pin(ours) as Connection)
        })
    }
}

async fn instead(mut io: DuplexStream, answer: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    io.write_all(answer.as_bytes()).await?;
    io.shutdown().await
}

/// An agent that is connected, or about to be.
pub(crate) struct Rig {
    pub(crate) relay: Relay,
    pub(crate) way: Arc<Way>,
    pub(crate) agent: Drain,
    pub(crate) offer: watch::Sender<Offer>,
    pub(crate) state: watch::Receiver<LinkState>,
    pub(crate) ended: oneshot::Receiver<Result<(), LinkError>>,
}

/// How a rig is built.
pub(crate) struct Plan {
    pub(crate) settings: TunnelSettings,
    pub(crate) delay: Duration,
    /// Whether the path may die.
    pub(crate) mortal: bool,
    pub(crate) reconnect: bool,
    pub(crate) answer: Option<&'static str>,
}

impl Default for Plan {
    fn default() -> Self {
        let settings = TunnelSettings::default();
        Self { settings, delay: Duration::ZERO, mortal: false, reconnect: true, answer: None }
    }
}

impl Plan {
    /// Starts both ends; does not wait for them to meet.
    pub(crate) fn start(self, service: impl AgentService) -> Rig {
        let relay = Relay::new(self.settings);
        let dead = watch::Sender::new(false);
        if self.mortal {
            // Somebody listens: the pipe of `Way` with the switch is used.
            let listener = dead.subscribe();
            relay.tasks.spawn("listener", async move {
                let _listener = listener;
                std::future::pending().await
            });
        }
        let way = Arc::new(Way {
            relay: Mutex::new(Some(relay.clone())),
            delay: self.delay,
            dead,
            dials: watch::Sender::new(0),
            answer: self.answer,
        });
        let offer = Offer { models: vec!["phi".to_owned()], max_concurrency: 4, ..Offer::default() };
        let (offer, offered) = watch::channel(offer);
        let (state_end, state) = watch::channel(LinkState::Connecting);
        let agent = Drain::new();
        let config = LinkConfig {
            url: ServerUrl::parse("ws://localhost/api/llm/connect").expect("an address"),
            connect: Arc::clone(&way) as Arc<dyn Connect>,
            key: None,
            identity: Identity { worker_name: "den".to_owned(), ..Identity::default() },
            reconnect: self.reconnect,
        };
        let parts = LinkParts {
            offer: offered,
            service: Arc::new(service),
            heartbeat: Arc::new(Heartbeat::default),
            drain: agent.watch(),
            state: state_end,
        };
        let (end, ended) = oneshot::channel();
        agent.spawn("agent", async move {
            let _ = end.send(keep_connected(config, parts).await);
        });
        Rig { relay, way, agent, offer, state, ended }
    }
}

impl Rig {
    pub(crate) fn new(service: impl AgentService) -> Self {
        Plan::default().start(service)
    }

    /// The tunnel, once the pool may use it.
    pub(crate) async fn tunnel(&self) -> Arc<dyn Tunnel> {
        let seen = self.relay.pool.until(|seen| seen.opened > seen.left && seen.tunnel.is_some()).await;
        seen.tunnel.expect("just seen")
    }

    /// How the link ended.
    pub(crate) async fn end(self) -> Result<(), LinkError> {
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.expect("the link ends in time").expect("the agent is not cut")
    }

    /// Asks for an answer of few bytes: the tunnel lives.
    pub(crate) async fn assert_alive(&self) {
        let answer = self.tunnel().await.call(get("/alive")).await.expect("the tunnel lives");
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        assert_eq!(body, "alive");
        assert_eq!(self.relay.pool.seen().joins.len(), 1, "it is still the first tunnel");
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::builder().method(Method::GET).uri(path).body(Body::empty()).expect("a request")
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(Method::POST).uri(path).body(body.into()).expect("a request")
}

/// A service from a function; `/alive` is answered for it.
pub(crate) struct Service<F>(pub(crate) F);

impl<F, A> AgentService for Service<F>
where
    F: Fn(Request<Body>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Response<Body>, CallError>> + Send + 'static,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        if request.uri().path() == "/alive" {
            return Box::pin(std::future::ready(Ok(Response::new("alive".into()))));
        }
        Box::pin((self.0)(request))
    }
}

pub(crate) type Pieces = mpsc::Sender<Result<Bytes, BodyError>>;

/// A body that is fed by hand; the feeder learns when nobody wants it any more.
pub(crate) fn fed() -> (Pieces, Body) {
    let (feeder, pieces) = mpsc::channel(4);
    let pieces = unfold(pieces, |mut pieces| async {
        let piece: Result<Bytes, BodyError> = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    (feeder, Body::stream(StreamBody::new(pieces)))
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

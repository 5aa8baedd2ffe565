//! A relay's end of the tunnel, over in-memory pipes: it takes the agent in and remembers
//! what it said.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http::{Request, Response};
use nfrx_runtime::{Drain, TokioClock};
use nfrx_spi::{
    Body, BoxFuture, CallError, Caller, Dialect, Heartbeat, JoinRefused, Joined, Membership, Newcomer,
    PathParams, RequestContext, RequestId, Scopes, Shared, StatusUpdate, Tunnel, Upgrade, WorkerIntake,
};
use nfrx_tunnel::{Acceptor, Connect, Connection, TunnelSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use crate::backend::patiently;

/// What the relay knows of its only worker.
#[derive(Clone, Default)]
pub(crate) struct Worker {
    pub(crate) tunnel: Option<Arc<dyn Tunnel>>,
    pub(crate) models: Vec<String>,
    pub(crate) max_concurrency: u32,
    pub(crate) heartbeats: usize,
    pub(crate) left: bool,
    /// All that the agent ever said, as text.
    pub(crate) said: String,
}

#[derive(Clone)]
pub(crate) struct Relay {
    worker: Arc<watch::Sender<Worker>>,
    tasks: Drain,
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self { worker: Arc::default(), tasks: Drain::new() }
    }

    /// Returns once the relay knows of its worker what the test waits for.
    pub(crate) async fn until(&self, reached: impl FnMut(&Worker) -> bool) -> Worker {
        patiently(self.worker.subscribe().wait_for(reached)).await.expect("the relay is there").clone()
    }

    /// Sends a request through the tunnel.
    pub(crate) async fn call(&self, body: &'static str) -> Result<Response<Body>, CallError> {
        let tunnel = self.until(|worker| worker.tunnel.is_some()).await.tunnel.expect("just seen");
        tunnel.call(Request::post("/chat").body(body.into()).expect("a request")).await
    }

    async fn serve(self, mut io: DuplexStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.expect("a whole head"));
        }
        let text = String::from_utf8(head).expect("plain text");
        let mut request = Request::get("/api/llm/connect");
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        let (upgraded, stream) = tokio::sync::oneshot::channel();
        request.extensions_mut().insert(Upgrade::new(Box::pin(async {
            let io: DuplexStream = stream.await.map_err(io::Error::other)?;
            Ok(Box::pin(io) as _)
        })));
        let acceptor = Acceptor::new(
            TunnelSettings::default(),
            Arc::new(self.clone()),
            Arc::new(self.tasks.clone()),
            Arc::new(TokioClock::new()),
            &Shared::default(),
        );
        let answer = acceptor.upgrade(request, context()).expect("a good upgrade");
        let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        for (name, value) in answer.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().expect("plain text"));
        }
        io.write_all((head + "\r\n").as_bytes()).await.expect("the agent is there");
        assert!(upgraded.send(io).is_ok(), "the tunnel's task is there");
    }
}

fn context() -> RequestContext {
    let caller =
        Caller { peer: (Ipv4Addr::LOCALHOST, 1).into(), key: None, scopes: Arc::new(Scopes::default()) };
    let (id, params) = (RequestId::new("r-1"), PathParams::default());
    RequestContext { id, caller, dialect: Dialect::Text, params }
}

impl Connect for Relay {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        let (near, far) = duplex(1 << 16);
        self.tasks.spawn("relay", self.clone().serve(far));
        Box::pin(async { Ok(Box::pin(near) as Connection) })
    }
}

impl WorkerIntake for Relay {
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        let registration = newcomer.registration;
        let worker_id = registration.worker_id.clone();
        self.worker.send_modify(|worker| {
            worker.said += &format!("{registration:?}\n");
            worker.tunnel = Some(newcomer.tunnel);
            worker.models = registration.models;
            worker.max_concurrency = registration.max_concurrency;
        });
        let membership = Box::new(Place(self.clone()));
        Ok(Joined { worker_id, epoch: 1, resume: "token".to_owned(), membership })
    }
}

struct Place(Relay);

impl Membership for Place {
    fn open(&self) {}

    fn update(&self, update: StatusUpdate) {
        self.0.worker.send_modify(|worker| {
            worker.said += &format!("{update:?}\n");
            worker.max_concurrency = update.max_concurrency;
            if let Some(models) = update.models {
                worker.models = models;
            }
        });
    }

    fn heartbeat(&self, heartbeat: Heartbeat) {
        self.0.worker.send_modify(|worker| {
            worker.said += &format!("{heartbeat:?}\n");
            worker.heartbeats += 1;
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.worker.send_modify(|worker| worker.left = true);
    }
}

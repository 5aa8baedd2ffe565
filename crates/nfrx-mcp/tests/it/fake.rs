//! A private server that does what a test tells it, byte by byte, and keeps what it was sent.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nfrx_agent::client::{Connector, Stream};
use nfrx_spi::BoxFuture;
use nfrx_testkit::pipe::{PipeOptions, pipe};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// One request, as the server got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the server answers.
pub(crate) enum Reply {
    /// At once and whole.
    Whole(Response<Bytes>),
    /// A head at once, and a body as the test feeds it.
    Fed(Response<()>, mpsc::Receiver<Bytes>),
    /// Nothing, for ever.
    Never,
}

impl Reply {
    /// A status with headers and a body.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        Self::Whole(head(status, headers).map(|()| body.into()))
    }

    /// JSON with status 200.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// A stream of events and what feeds it; dropping that ends the stream.
    pub(crate) fn events() -> (Self, mpsc::Sender<Bytes>) {
        Self::fed(200, &[("content-type", "text/event-stream")])
    }

    /// Any stream.
    pub(crate) fn fed(status: u16, headers: &[(&str, &str)]) -> (Self, mpsc::Sender<Bytes>) {
        let (feed, fed) = mpsc::channel(8);
        (Self::Fed(head(status, headers), fed), feed)
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Response<()> {
    let mut head = Response::builder().status(status);
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    head.body(()).expect("tests write valid answers")
}

type Script = dyn FnMut(&Seen) -> Reply + Send;

/// The server, reached through pipes. Clones are one.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Inner>);

struct Inner {
    script: Mutex<Box<Script>>,
    seen: watch::Sender<Vec<Seen>>,
    /// Answers that nobody wanted to the end, and requests that were dropped.
    cancelled: watch::Sender<usize>,
    reachable: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Fake {
    /// A server that answers as `script` says.
    pub(crate) fn new(script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        Self(Arc::new(Inner {
            script: Mutex::new(Box::new(script)),
            seen: watch::Sender::default(),
            cancelled: watch::Sender::default(),
            reachable: watch::Sender::new(true),
            tasks: Mutex::default(),
        }))
    }

    /// One that says `{}` to everything.
    pub(crate) fn plain() -> Self {
        Self::new(|_| Reply::json("{}"))
    }

    /// From now on it can be reached, or not.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.0.reachable.send_replace(reachable);
    }

    /// What it was sent so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.borrow().clone()
    }

    /// Waits until it was sent so much.
    pub(crate) async fn until_seen(&self, count: usize) -> Vec<Seen> {
        let mut seen = self.0.seen.subscribe();
        seen.wait_for(|seen| seen.len() >= count).await.expect("it is ours").clone()
    }

    /// Waits until so many requests were cancelled.
    pub(crate) async fn until_cancelled(&self, count: usize) {
        let mut cancelled = self.0.cancelled.subscribe();
        cancelled.wait_for(|cancelled| *cancelled >= count).await.expect("it is ours");
    }

    /// How many requests were cancelled.
    pub(crate) fn cancelled(&self) -> usize {
        *self.0.cancelled.borrow()
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<Full<Bytes>, Fed>>, io::Error> {
        let mut watched = Watched { fake: self.clone(), ended: false };
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let seen = Seen { method: head.method, target: head.uri.to_string(), headers: head.headers, body };
        let reply = (lock(&self.0.script))(&seen);
        self.0.seen.send_modify(|all| all.push(seen));
        match reply {
            Reply::Whole(response) => {
                watched.ended = true;
                Ok(response.map(|body| Either::Left(Full::new(body))))
            }
            Reply::Fed(response, fed) => Ok(response.map(|()| Either::Right(Fed { fed, watched }))),
            Reply::Never => std::future::pending().await,
        }
    }
}

impl Connector for Fake {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        if !*self.0.reachable.borrow() {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let (near, far, _) = pipe(PipeOptions::default());
        let fake = self.clone();
        lock(&self.0.tasks).spawn(async move {
            let service = service_fn(move |request| fake.clone().answer(request));
            let mut server = hyper::server::conn::http1::Builder::new();
            // How it ended is what the counters show.
            let _ = server.half_close(false).serve_connection(TokioIo::new(far), service).await;
        });
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}

fn lock<T: ?Sized>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request that is dropped before its end.
struct Watched {
    fake: Fake,
    ended: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.fake.0.cancelled.send_modify(|count| *count += 1);
        }
    }
}

/// A body that a test feeds.
struct Fed {
    fed: mpsc::Receiver<Bytes>,
    watched: Watched,
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let bytes = std::task::ready!(self.fed.poll_recv(cx));
        self.watched.ended = bytes.is_none();
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

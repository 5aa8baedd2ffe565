//! A backend that says what a test tells it to, byte by byte if need be.
//!
//! It answers an agent's probes by itself; every other request waits for the test.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nfrx_agent::client::{Connector, Stream};
use nfrx_spi::BoxFuture;
use nfrx_testkit::pipe::{PipeOptions, pipe};
use nfrx_testkit::relay::patiently;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Requests that wait for the test.
const WAITING: usize = 64;

type Body = Either<Full<Bytes>, Pieces>;

/// A backend in the hands of a test.
pub struct Backend {
    door: Arc<Door>,
    asked: mpsc::Receiver<Asked>,
}

struct Door {
    state: Mutex<State>,
    asked: mpsc::Sender<Asked>,
}

struct State {
    models: Vec<String>,
    /// Nobody gets a connection.
    away: bool,
    probes: usize,
    connections: JoinSet<()>,
}

/// A request that waits for what the test answers. Dropped, its connection breaks.
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    answer: oneshot::Sender<Response<Body>>,
}

/// An answer whose body is under way. Dropped, its connection breaks.
pub struct Answering(mpsc::Sender<io::Result<Bytes>>);

impl Backend {
    /// A backend that lists these models.
    pub fn new(models: &[&str]) -> Self {
        let (sender, asked) = mpsc::channel(WAITING);
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let state = State { models, away: false, probes: 0, connections: JoinSet::new() };
        Self { door: Arc::new(Door { state: Mutex::new(state), asked: sender }), asked }
    }

    /// What an agent connects to.
    pub fn door(&self) -> Arc<dyn Connector> {
        Arc::new(Way(Arc::clone(&self.door)))
    }

    /// From now on it lists these models.
    pub fn list(&self, models: &[&str]) {
        self.door.lock().models = models.iter().map(|model| (*model).to_owned()).collect();
    }

    /// It is gone: every connection breaks, and nobody gets a new one.
    pub fn leave(&self) {
        let mut state = self.door.lock();
        state.away = true;
        state.connections.abort_all();
    }

    /// It is there again.
    pub fn come_back(&self) {
        self.door.lock().away = false;
    }

    /// How often its models were asked for.
    pub fn probes(&self) -> usize {
        self.door.lock().probes
    }

    /// The next request.
    pub async fn asked(&mut self) -> Asked {
        patiently(self.asked.recv()).await.expect("the door is ours")
    }

    /// Whether nobody has asked for anything.
    pub fn is_unasked(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Option<Response<Body>> {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/v1/models" | "/health" => {
                let mut state = self.lock();
                state.probes += 1;
                let models: Vec<_> = state.models.iter().map(|id| json!({ "id": id })).collect();
                return Some(whole(&json!({ "object": "list", "data": models, "status": "ok" }).to_string()));
            }
            "/props" | "/api/version" => {
                let mut none = whole("");
                *none.status_mut() = http::StatusCode::NOT_FOUND;
                return Some(none);
            }
            _ => {}
        }
        let body = body.collect().await.ok()?.to_bytes();
        let (answer, answered) = oneshot::channel();
        let (method, path) = (head.method.to_string(), head.uri.to_string());
        let asked = Asked { method, path, headers: head.headers, body, answer };
        self.asked.send(asked).await.ok()?;
        answered.await.ok()
    }
}

struct Way(Arc<Door>);

impl Connector for Way {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let door = Arc::clone(&self.0);
        let mut state = self.0.lock();
        if state.away {
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        }
        let (near, far, _control) = pipe(PipeOptions::default());
        state.connections.spawn(async move {
            let service = service_fn(|request| {
                let door = &door;
                async move { door.answer(request).await.ok_or(io::Error::other("the test broke it off")) }
            });
            // How it ended is what the agent shows.
            let _ = http1::Builder::new()
                .half_close(false)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(far), service)
                .await;
        });
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}

impl Asked {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Answers in JSON.
    pub fn answer_json(self, body: &str) {
        self.answer(200, &[("content-type", "application/json")], body.to_owned());
    }

    /// Answers with all of a body.
    pub fn answer(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let response = head(status, headers).map(|()| Either::Left(Full::new(body.into())));
        assert!(self.answer.send(response).is_ok(), "the agent waits for the answer");
    }

    /// Answers with a head; the body follows.
    pub fn begin(self, status: u16, headers: &[(&str, &str)]) -> Answering {
        let (sender, pieces) = mpsc::channel(1);
        let response = head(status, headers).map(|()| Either::Right(Pieces(pieces)));
        assert!(self.answer.send(response).is_ok(), "the agent waits for the answer");
        Answering(sender)
    }

    /// Waits until the agent wants no answer any more.
    pub async fn unwanted(&mut self) {
        patiently(self.answer.closed()).await;
    }
}

impl Answering {
    /// Says a piece of the body.
    pub async fn say(&self, bytes: impl Into<Bytes>) {
        patiently(self.0.send(Ok(bytes.into()))).await.expect("the agent reads the answer");
    }

    /// The answer breaks off here.
    pub async fn break_off(self) {
        let _ = self.0.send(Err(io::ErrorKind::ConnectionReset.into())).await;
    }

    /// The answer is whole.
    pub fn end(self) {}

    /// Waits until the agent wants no more of it.
    pub async fn unwanted(&self) {
        patiently(self.0.closed()).await;
    }
}

/// A body that comes from a test.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).expect("tests write valid heads")
}

fn whole(body: &str) -> Response<Body> {
    Response::new(Either::Left(Full::new(Bytes::copy_from_slice(body.as_bytes()))))
}

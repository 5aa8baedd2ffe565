//! A simulated backend on a port of its own, and clients of it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nfrx_sim::{Sim, SimConfig, SimHandle};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Dropping it ends the server.
pub(crate) struct World {
    pub(crate) sim: SimHandle,
    pub(crate) addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) server: JoinSet<()>,
}

impl World {
    pub(crate) async fn start(config: SimConfig) -> Self {
        let sim = Sim::bind(([127, 0, 0, 1], 0).into(), config).await.unwrap();
        let (addr, handle, stop) = (sim.addr(), sim.handle(), CancellationToken::new());
        let mut server = JoinSet::new();
        server.spawn({
            let stop = stop.clone();
            async move { sim.serve(stop.cancelled()).await.unwrap() }
        });
        Self { sim: handle, addr, stop, server }
    }

    pub(crate) async fn demo() -> Self {
        Self::start(SimConfig::default()).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.addr).await.unwrap()).await
    }

    /// One request on a connection of its own, answered whole.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        json(self.client().await.get(path).await).await
    }

    /// One request on a connection of its own, answered whole.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        json(self.client().await.post(path, body).await).await
    }
}

/// One connection. Dropping it closes the socket.
pub(crate) struct Client {
    sender: SendRequest<RequestBody>,
    _connection: JoinSet<()>,
}

impl Client {
    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = handshake(TokioIo::new(io)).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Self { sender, _connection: task }
    }

    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.send_request(request)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(path).header("host", "sim").body(whole(Bytes::new())).unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Response<Incoming> {
        self.send(post(path, body)).await.unwrap()
    }
}

pub(crate) fn post(path: &str, body: &Value) -> Request<RequestBody> {
    Request::post(path).header("host", "sim").body(whole(Bytes::from(body.to_string()))).unwrap()
}

pub(crate) fn whole(body: Bytes) -> RequestBody {
    Full::new(body).boxed_unsync()
}

/// A minimal chat request with more `members`.
pub(crate) fn chat(members: Value) -> Value {
    let mut body = serde_json::json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// The same, streamed.
pub(crate) fn chat_stream(members: Value) -> Value {
    let mut body = chat(members);
    body["stream"] = true.into();
    body
}

pub(crate) async fn json(response: Response<Incoming>) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The `data` of all events of a stream that ended well; `[DONE]` as a string.
pub(crate) async fn events(response: Response<Incoming>) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = text(response).await;
    assert!(text.ends_with("\n\n"));
    text.split_terminator("\n\n").map(event).collect()
}

fn event(event: &str) -> Value {
    let (name, data) = event.split_once("data: ").unwrap();
    let data = if data == "[DONE]" { data.into() } else { serde_json::from_str::<Value>(data).unwrap() };
    if let Some(name) = name.strip_prefix("event: ") {
        assert_eq!(data["type"], name.trim_end());
    }
    data
}

/// Frames of a body that arrive before it stops or breaks, as text.
pub(crate) async fn next_text(body: &mut Incoming) -> Option<hyper::Result<String>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
}

/// Reads until so many content tokens of a chat stream have arrived.
pub(crate) async fn read_tokens(body: &mut Incoming, tokens: usize) {
    let mut seen = String::new();
    while seen.matches(r#""delta":{"content""#).count() < tokens {
        seen += &next_text(body).await.unwrap().unwrap();
    }
}

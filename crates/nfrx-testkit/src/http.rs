//! A plain HTTP/1.1 client on any byte stream: one connection, requests in turn.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A request's body, whole or streaming.
type SentBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A connection to a server. Dropping it hangs up, in whatever phase.
pub struct HttpClient {
    sender: SendRequest<SentBody>,
    _connection: JoinSet<()>,
}

/// An answer whose body streams.
pub type Streaming = Response<Incoming>;

/// An answer read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its head.
    pub head: Response<()>,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl HttpClient {
    /// A client on `io`.
    pub async fn over<T>(io: T) -> hyper::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // How it ended is what the requests on it show.
            let _ = connection.await;
        });
        Ok(Self { sender, _connection: task })
    }

    /// A client on a new TCP connection.
    pub async fn connect(addr: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        Self::over(socket).await.map_err(std::io::Error::other)
    }

    /// Sends a request and gives the head of its answer; the body streams.
    pub async fn send(&mut self, request: Request<Bytes>) -> hyper::Result<Streaming> {
        self.upload(request.map(Full::new)).await
    }

    /// The same with a body that streams. An answer may come before all of it was sent.
    pub async fn upload<B>(&mut self, request: Request<B>) -> hyper::Result<Streaming>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        self.sender.ready().await?;
        self.sender.send_request(request.map(|body| body.map_err(Into::into).boxed_unsync())).await
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, request: Request<Bytes>) -> hyper::Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { head: Response::from_parts(head, ()), body })
    }
}

/// A GET request; `key` is sent as bearer.
pub fn get(path: &str, key: Option<&str>) -> Request<Bytes> {
    request("GET", path, key, Bytes::new())
}

/// A POST request with a JSON body; `key` is sent as bearer.
pub fn post(path: &str, key: Option<&str>, body: &serde_json::Value) -> Request<Bytes> {
    request("POST", path, key, Bytes::from(body.to_string()))
}

fn request(method: &str, path: &str, key: Option<&str>, body: Bytes) -> Request<Bytes> {
    let mut builder = Request::builder().method(method).uri(path).header("host", "relay.test");
    if let Some(key) = key {
        builder = builder.header("authorization", format!("Bearer {key}"));
    }
    if !body.is_empty() {
        builder = builder.header("content-type", "application/json");
    }
    builder.body(body).expect("tests write valid requests")
}

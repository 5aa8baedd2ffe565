//! A plain HTTP/1.1 client: one connection, requests in turn. The testkit has a fuller
//! one, but it is built on this crate.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection; dropping it hangs up.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

/// An answer read to its end.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn over<T>(io: T) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.expect("nothing is sent yet");
        let mut task = JoinSet::new();
        // How it ends is what the requests on it show.
        task.spawn(async move { drop(connection.await) });
        Self { sender, _connection: task }
    }

    pub(crate) async fn connect(addr: SocketAddr) -> std::io::Result<Self> {
        Ok(Self::over(TcpStream::connect(addr).await?).await)
    }

    /// The head of the answer; the body streams.
    pub(crate) async fn send(&mut self, request: Request<Bytes>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request.map(Full::new)).await
    }

    /// The whole answer.
    pub(crate) async fn ask(&mut self, request: Request<Bytes>) -> hyper::Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Answer { head: Response::from_parts(head, ()), body: body.collect().await?.to_bytes() })
    }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `null` when it is no JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(crate) fn get(path: &str, key: Option<&str>) -> Request<Bytes> {
    with_key("GET", path, key, Bytes::new())
}

pub(crate) fn post(path: &str, key: Option<&str>, body: &serde_json::Value) -> Request<Bytes> {
    with_key("POST", path, key, Bytes::from(body.to_string()))
}

fn with_key(method: &str, path: &str, key: Option<&str>, body: Bytes) -> Request<Bytes> {
    let mut builder = Request::builder().method(method).uri(path).header("host", "relay.test");
    if let Some(key) = key {
        builder = builder.header("authorization", format!("Bearer {key}"));
    }
    builder.body(body).expect("tests write valid requests")
}

//! Backends in the hand of a test: it reads each request and writes each answer, byte by
//! byte, over in-memory pipes or over real sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use nfrx_agent::client::{BackendClient, Connector, Stream};
use nfrx_agent::{AllowList, BackendKey, BackendProxy, BaseUrl, Ceiling, ProxyParts, StatusBoard};
use nfrx_runtime::Drain;
use nfrx_spi::{Body, BodyError, BoxFuture, CallError, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use nfrx_tunnel::AgentService;

/// Anything that is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(100);

/// A proxy with all that belongs to it.
pub(crate) struct Front {
    pub(crate) proxy: BackendProxy,
    pub(crate) ceiling: Ceiling,
    pub(crate) status: StatusBoard,
    pub(crate) drain: Drain,
}

impl Front {
    fn new(client: BackendClient) -> Self {
        let (ceiling, status, drain) = (Ceiling::new(2), StatusBoard::new(), Drain::new());
        let proxy = BackendProxy::new(ProxyParts {
            client,
            key: Some(BackendKey::new(&Secret::new("backend-key")).expect("a plain key")),
            allowed: AllowList::new().exact(Method::POST, "/chat").exact(Method::GET, "/models"),
            ceiling: ceiling.clone(),
            status: status.clone(),
            drain: drain.watch(),
        });
        Self { proxy, ceiling, status, drain }
    }

    pub(crate) fn call(
        &self,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.proxy.call(request)
    }

    pub(crate) fn post(&self, text: &'static str) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.call(Request::post("http://worker/chat").body(text.into()).expect("a request"))
    }
}

/// Pipes that the proxy opens end here.
pub(crate) struct PipeBackend {
    opened: mpsc::Receiver<DuplexStream>,
}

/// Opens pipes for a [`PipeBackend`].
pub(crate) struct PipeConnector(mpsc::Sender<DuplexStream>);

/// A connector and the backend at its other end.
pub(crate) fn pipes() -> (PipeConnector, PipeBackend) {
    let (sender, opened) = mpsc::channel(16);
    (PipeConnector(sender), PipeBackend { opened })
}

impl Connector for PipeConnector {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (near, far) = duplex(1 << 16);
            self.0.send(far).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::pin(near) as Stream)
        })
    }
}

/// A proxy over in-memory pipes.
pub(crate) fn piped(base: &str, idle_limit: Option<Duration>) -> (Front, PipeBackend) {
    let (connector, backend) = pipes();
    let base = BaseUrl::parse(base).expect("an address");
    let client = BackendClient::with_connector(base, Arc::new(connector), idle_limit);
    (Front::new(client.expect("a client")), backend)
}

/// A proxy over connections that somebody else makes.
pub(crate) fn connected(connector: impl Connector) -> Front {
    let base = BaseUrl::parse("http://h/v1").expect("an address");
    Front::new(BackendClient::with_connector(base, Arc::new(connector), None).expect("a client"))
}

/// A proxy over real sockets.
pub(crate) async fn socketed() -> (Front, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/v1", listener.local_addr().expect("bound"));
    let base = BaseUrl::parse(&base).expect("an address");
    (Front::new(BackendClient::new(base, None).expect("a client")), listener)
}

impl PipeBackend {
    pub(crate) async fn accept(&mut self) -> Peer<DuplexStream> {
        Peer { io: patiently(self.opened.recv()).await.expect("the proxy is there"), seen: Vec::new() }
    }

    /// Whether the proxy has opened another connection by now.
    pub(crate) fn has_another(&mut self) -> bool {
        self.opened.try_recv().is_ok()
    }
}

pub(crate) async fn accept(listener: &TcpListener) -> Peer<TcpStream> {
    let (io, _) = patiently(listener.accept()).await.expect("a connection");
    Peer { io, seen: Vec::new() }
}

/// The backend's end of one connection.
pub(crate) struct Peer<S> {
    io: S,
    seen: Vec<u8>,
}

/// A request as the backend reads it.
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The next request; its body by `Content-Length` only.
    pub(crate) async fn request(&mut self) -> Seen {
        let head_len = loop {
            if let Some(at) = self.seen.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await;
        };
        let head = String::from_utf8(self.seen[..head_len].to_vec()).expect("plain text");
        let mut lines = head.lines();
        let line = lines.next().expect("a request line").to_owned();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut seen = Seen { line, headers, body: String::new() };
        let body_len: usize = seen.header("content-length").map_or(0, |text| text.parse().expect("digits"));
        while self.seen.len() < head_len + body_len {
            self.read_more().await;
        }
        let rest = self.seen.split_off(head_len + body_len);
        seen.body = String::from_utf8(self.seen.split_off(head_len)).expect("plain text");
        self.seen = rest;
        seen
    }

    async fn read_more(&mut self) {
        let read = patiently(self.io.read_buf(&mut self.seen)).await.expect("an open connection");
        assert!(read > 0, "the proxy hung up");
    }

    /// What was read and is not yet part of a request.
    pub(crate) async fn read_until(&mut self, end: &[u8]) -> String {
        while !self.seen.ends_with(end) {
            self.read_more().await;
        }
        String::from_utf8(std::mem::take(&mut self.seen)).expect("plain text")
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.expect("an open connection");
    }

    /// Answers with a whole body of known length.
    pub(crate) async fn answer(&mut self, body: &str) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.write(&(head + body)).await;
    }

    /// Returns when the proxy has closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset is as good an end as any.
        let _ = patiently(self.io.read_to_end(&mut rest)).await;
    }
}

/// Awaits what must come soon.
pub(crate) async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never came")
}

/// The whole body, or why it ended early with what came before.
pub(crate) async fn read_all(mut body: Body) -> (String, Option<BodyError>) {
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().expect("data only")),
            Some(Err(error)) => return (String::from_utf8(bytes).expect("text"), Some(error)),
            None => return (String::from_utf8(bytes).expect("text"), None),
        }
    }
}

/// The next chunk of a body.
pub(crate) async fn chunk(body: &mut Body) -> Bytes {
    let frame = patiently(body.frame()).await.expect("not the end yet").expect("no error yet");
    frame.into_data().expect("data only")
}

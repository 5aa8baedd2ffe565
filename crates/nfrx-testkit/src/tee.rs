//! A tee between an agent and its backend: passes everything on and keeps what the
//! backend sent, so that "the client got the same bytes" can be shown (decision 38).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One exchange, as the backend saw and answered it.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The request's path and query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's body as far as it came, without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub complete: bool,
}

/// A running tee.
pub struct Tee {
    addr: SocketAddr,
    records: Records,
    _task: JoinSet<()>,
}

type Records = Arc<Mutex<Vec<Recorded>>>;

impl Tee {
    /// Listens on loopback in front of `backend`.
    pub async fn start(backend: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let records = Records::default();
        let mut task = JoinSet::new();
        task.spawn(accept(listener, backend, Arc::clone(&records)));
        Ok(Self { addr, records, _task: task })
    }

    /// Where the agent finds it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was exchanged so far, in the order of the requests.
    pub fn records(&self) -> Vec<Recorded> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, backend: SocketAddr, records: Records) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let records = Arc::clone(&records);
        let service = service_fn(move |request| pass(request, backend, Arc::clone(&records)));
        connections.spawn(async move {
            // A broken connection shows in the record of its request.
            let _ = server::Builder::new()
                .half_close(false)
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    backend: SocketAddr,
    records: Records,
) -> Result<Response<Recording>, io::Error> {
    let socket = TcpStream::connect(backend).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = client::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let _ = connection.await;
    });
    let path = request.uri().to_string();
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let at = {
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(Recorded { path, status: head.status.as_u16(), ..Recorded::default() });
        records.len() - 1
    };
    let body = Recording { body, records, at, _sender: sender, _task: task };
    Ok(Response::from_parts(head, body))
}

/// A body that is kept as it passes. Owns the connection it comes from.
struct Recording {
    body: Incoming,
    records: Records,
    at: usize,
    _sender: client::SendRequest<Incoming>,
    _task: JoinSet<()>,
}

impl http_body::Body for Recording {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = frame.is_none() || self.body.is_end_stream();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = &mut records[self.at];
        if let Some(data) = frame.as_ref().and_then(|f| f.as_ref().ok()).and_then(Frame::data_ref) {
            record.body.extend_from_slice(data);
        }
        record.complete |= ended;
        drop(records);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

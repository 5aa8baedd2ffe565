//! A small HTTP/1 server for a few local callers: bounded, and no body is read.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nfrx_runtime::DrainWatch;
use nfrx_runtime::address::is_local_name;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;
/// How long a head may take, and how long a connection may rest.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long to wait when the system gives no connection, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers requests, of which only heads are looked at.
pub(super) trait Routes: Send + Sync + 'static {
    /// Answers one request from `peer`.
    fn answer(&self, request: &Request<()>, peer: IpAddr) -> Answer;
}

/// Serves until the drain begins; then connections end with the answer they are at.
pub(super) async fn accept(listener: TcpListener, routes: Arc<dyn Routes>, drain: DrainWatch) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = drain.draining() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, Arc::clone(&routes), drain.clone()));
                }
                Err(error) => {
                    warn!(%error, "can't accept a local connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, peer: SocketAddr, routes: Arc<dyn Routes>, drain: DrainWatch) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&*routes, &request.map(drop), peer.ip().to_canonical());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.draining() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a local connection ended");
    }
}

/// A stranger's page may have its name resolve to this machine; then `Host` is that name.
fn answer(routes: &dyn Routes, request: &Request<()>, peer: IpAddr) -> Answer {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if peer.is_loopback() && !is_local_name(host) {
        return text(StatusCode::FORBIDDEN, "only local host names are served here\n");
    }
    routes.answer(request, peer)
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = content("text/plain; charset=utf-8", text);
    *answer.status_mut() = status;
    answer
}

/// An answer that browsers take for nothing but `kind`.
pub(super) fn content(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// What is answered where nothing is.
pub(super) fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

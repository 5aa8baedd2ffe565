//! The way of finished spans to a collector: gathered, sent now and then, and dropped where
//! there are too many or nobody takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nfrx_runtime::{DrainWatch, TlsClient};
use nfrx_spi::metrics::Counter;
use nfrx_spi::{BuildInfo, Io, Span};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::otlp;
use crate::config::TracesConfig;

/// How many spans one export has at most.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const EVERY: Duration = Duration::from_secs(1);
/// How long an export may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Why a collector got nothing.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the exchange failed: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took too long")]
    TooLong,
}

/// Sends spans until the server closes.
pub(super) struct Exporter {
    pub(super) spans: mpsc::Receiver<Span>,
    pub(super) config: TracesConfig,
    pub(super) build: BuildInfo,
    pub(super) dropped: Arc<Counter>,
    /// Whether the last export failed, so that a collector that is away is told of once.
    pub(super) failing: bool,
}

impl Exporter {
    pub(super) async fn run(mut self, closing: DrainWatch) {
        let mut batch = Vec::new();
        loop {
            let is_over = tokio::select! {
                taken = self.spans.recv_many(&mut batch, BATCH_MAX) => taken == 0,
                () = closing.draining() => true,
            };
            if !is_over && batch.len() < BATCH_MAX {
                sleep(EVERY).await;
            }
            while batch.len() < BATCH_MAX
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            self.export(&batch).await;
            let is_full = batch.len() == BATCH_MAX;
            batch.clear();
            if is_over && !is_full {
                return;
            }
        }
    }

    async fn export(&mut self, batch: &[Span]) {
        if batch.is_empty() {
            return;
        }
        let body = otlp::request(&self.config.service, self.build, batch);
        let sent = timeout(TIME_MAX, self.send(body)).await.unwrap_or(Err(ExportError::TooLong));
        match (&sent, self.failing) {
            (Err(error), false) => {
                warn!(endpoint = %self.config.endpoint, %error, "traces are dropped, the collector takes none");
            }
            (Ok(()), true) => info!("the collector takes traces again"),
            _ => {}
        }
        self.failing = sent.is_err();
        if self.failing {
            self.dropped.add(batch.len() as u64);
        }
    }

    async fn send(&self, body: Vec<u8>) -> Result<(), ExportError> {
        let TracesConfig { endpoint, headers, .. } = &self.config;
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await?)).await?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.path_and_query().cloned().unwrap_or_else(default_path).into();
        request.headers_mut().extend(headers.iter().cloned());
        let fixed = [
            (header::HOST, endpoint.authority().map_or("", |authority| authority.as_str())),
            (header::CONTENT_TYPE, "application/x-protobuf"),
            (header::CONNECTION, "close"),
        ];
        for (name, value) in fixed {
            if let Ok(value) = value.parse() {
                request.headers_mut().insert(name, value);
            }
        }
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            // What it says is not ours to read, but the connection ends with it.
            let _ = http_body_util::Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok::<_, hyper::Error>(status)
        };
        let (status, _) = tokio::join!(exchange, connection);
        match status? {
            status if status.is_success() => Ok(()),
            status => Err(ExportError::Status(status)),
        }
    }
}

impl Exporter {
    async fn connect(&self) -> std::io::Result<Pin<Box<dyn Io>>> {
        let TracesConfig { endpoint, certificates, .. } = &self.config;
        let is_secure = endpoint.scheme_str() == Some("https");
        let host = endpoint.host().unwrap_or_default();
        let port = endpoint.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        // Read anew each time: they may be renewed while the server runs.
        let tls = is_secure.then(|| TlsClient::new(host, certificates.as_deref())).transpose()?;
        let socket = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        Ok(match tls {
            Some(tls) => Box::pin(tls.connect(socket).await?),
            None => Box::pin(socket),
        })
    }
}

/// How much of a collector's answer is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

fn default_path() -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static("/v1/traces")
}

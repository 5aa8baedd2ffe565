//! The simulated backend as a value: serves connections, shows what happened to requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::SimConfig;
use crate::record::{Record, RequestRecord, Stats};

/// A simulated backend without a socket, and the record of one that has a socket.
///
/// Clones share everything.
#[derive(Debug, Clone)]
pub struct SimHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: watch::Sender<Arc<SimConfig>>,
    record: Arc<Record>,
    /// Lots drawn so far, for the rates of the configuration.
    lots: AtomicU64,
}

impl SimHandle {
    /// A simulated backend that serves whatever connections it is handed.
    pub fn new(config: SimConfig) -> Self {
        let config = watch::Sender::new(Arc::new(config));
        Self { shared: Arc::new(Shared { config, record: Arc::default(), lots: AtomicU64::new(0) }) }
    }

    /// Serves one HTTP/1 connection until either side closes it. Dropping the future cuts
    /// it. All waits are on tokio's clock, so `io` may be a pipe under a paused clock.
    ///
    /// # Errors
    ///
    /// A client that broke the protocol or left in the middle, and a simulated death.
    pub async fn serve_connection<I>(&self, io: I) -> hyper::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_until(io, CancellationToken::new()).await
    }

    /// As `serve_connection`; after `draining` it ends with the request it is at.
    pub(crate) async fn serve_until<I>(&self, io: I, draining: CancellationToken) -> hyper::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.clone().answer(request));
        let connection = http1::Builder::new()
            // A client that closes its sending side is gone: with half-closed connections
            // allowed, nobody would notice before the next write.
            .half_close(false)
            // A token is some two hundred bytes. Copying them all into one write gives three
            // times the tokens per second of handing each to the system as a piece.
            .writev(false)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    /// Replaces the configuration for requests that arrive from now on.
    pub fn configure(&self, config: SimConfig) {
        self.shared.config.send_replace(Arc::new(config));
    }

    /// All counters at this moment.
    pub fn stats(&self) -> Stats {
        self.shared.record.stats()
    }

    /// See [`Stats::started`].
    pub fn started(&self) -> u64 {
        self.stats().started
    }

    /// See [`Stats::finished`].
    pub fn finished(&self) -> u64 {
        self.stats().finished
    }

    /// See [`Stats::cancelled`].
    pub fn cancelled(&self) -> u64 {
        self.stats().cancelled
    }

    /// See [`Stats::in_flight`].
    pub fn in_flight(&self) -> u64 {
        self.stats().in_flight
    }

    /// See [`Stats::in_flight_max`].
    pub fn in_flight_max(&self) -> u64 {
        self.stats().in_flight_max
    }

    /// The last requests, oldest first; at most [`REQUESTS_KEPT_MAX`](crate::REQUESTS_KEPT_MAX).
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.record.requests()
    }

    /// Every change of the counters; quick changes may come as one.
    pub fn changes(&self) -> watch::Receiver<Stats> {
        self.shared.record.watch()
    }

    /// Waits until the counters are as `reached` wants them, and returns them.
    pub async fn wait_until(&self, reached: impl FnMut(&Stats) -> bool) -> Stats {
        let mut changes = self.changes();
        // The sender lives as long as `self`, so the wait cannot fail.
        changes.wait_for(reached).await.map_or_else(|_| self.stats(), |stats| *stats)
    }

    pub(crate) fn config(&self) -> Arc<SimConfig> {
        Arc::clone(&self.shared.config.borrow())
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.shared.record
    }

    /// A number never given before.
    pub(crate) fn next_lot(&self) -> u64 {
        self.shared.lots.fetch_add(1, Ordering::Relaxed)
    }
}

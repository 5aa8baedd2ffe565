//! Connections: accepted within bounds, served until they end, closed in order.

mod accept;
mod bounds;
mod guarded;
mod state;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nfrx_runtime::Drain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::config::Limits;
use crate::front::{Front, take_upgrade};
use crate::telemetry::{Bound, Telemetry};

pub(crate) use accept::accept;
pub(crate) use bounds::{Bounds, Permit};
pub(crate) use guarded::Guarded;
pub(crate) use state::{Busy, ConnectionState};

/// Read buffer of an HTTP/1 connection; bounds the head as a whole.
const BUFFER_BYTES: usize = 64 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// HTTP/2: streams reset by the peer that we have not looked at yet (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// HTTP/2: streams we had to reset because the peer broke the rules, in the life of a
/// connection. A client only harms itself.
const LOCAL_RESETS_MAX: usize = 1024;
/// HTTP/2: how often a silent peer is asked whether it lives, and how long it has.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves connections of one listener. Clones share everything.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    front: Arc<Front>,
    builder: Builder<Tasks>,
    bounds: Arc<Bounds>,
    limits: Limits,
    tasks: Drain,
    telemetry: Arc<Telemetry>,
}

/// Lets hyper start the tasks of HTTP/2 streams where they are waited for.
#[derive(Clone)]
struct Tasks(Drain);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        self.0.spawn("h2 stream", stream);
    }
}

impl Door {
    /// A door whose connections belong to `tasks`: when those drain, connections are
    /// closed as they become idle.
    pub(crate) fn new(
        front: Arc<Front>,
        bounds: Arc<Bounds>,
        limits: Limits,
        tasks: Drain,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let builder = builder(&limits, &tasks);
        Self(Arc::new(Inner { front, builder, bounds, limits, tasks, telemetry }))
    }

    /// Serves a connection in a task of its own; `peer` is who is at its other end. It
    /// is dropped when it is over a bound.
    pub fn open<T>(&self, io: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let door = self.clone();
        self.0.tasks.spawn("connection", async move { door.serve_connection(io, peer).await });
    }

    /// Serves a connection until it ends, or was taken over by a handler.
    pub async fn serve_connection<T>(&self, io: T, peer: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let inner = &*self.0;
        let permit = match inner.bounds.admit(peer.ip()) {
            Ok(permit) => permit,
            Err(bound) => {
                inner.telemetry.refuse(bound);
                debug!(peer = %peer.ip(), ?bound, "connection refused");
                return;
            }
        };
        inner.telemetry.accept();
        let state = Arc::new(ConnectionState::default());
        let io = Guarded::new(io, Arc::clone(&state), permit, &inner.limits, Arc::clone(&inner.telemetry));
        let service = service_fn({
            let (front, state) = (Arc::clone(&inner.front), Arc::clone(&state));
            move |request: Request<Incoming>| {
                let (front, state) = (Arc::clone(&front), Arc::clone(&state));
                async move { Ok::<_, Infallible>(front.answer(request, peer, state, take_upgrade::<T>).await) }
            }
        });
        let mut connection = pin!(inner.builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        let closing = inner.tasks.watch();
        let mut closing = pin!(closing.draining());
        let mut is_closing = false;
        let mut idle = interval_at(Instant::now() + inner.limits.idle_max, inner.limits.idle_max);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stall_max = inner.limits.write_stall_max;
        let mut stalls = interval_at(Instant::now() + stall_max, stall_max);
        stalls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Most wakes are the connection's: it is asked first.
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(peer = %peer.ip(), %error, "connection ended");
                    }
                    return;
                }
                () = closing.as_mut(), if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                // A client that shuts a stream's window and goes on to answer pings would
                // hold a worker's slot for ever.
                _ = stalls.tick() => {
                    for _ in 0..state.cut_untaken(stall_max) {
                        inner.telemetry.refuse(Bound::WriteStall);
                    }
                }
                _ = idle.tick(), if !is_closing => {
                    if state.was_idle() {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

/// HTTP/1.1, and HTTP/2 for clients that know beforehand; no upgrade to it in between,
/// which others used to get past their guards.
fn builder(limits: &Limits, tasks: &Drain) -> Builder<Tasks> {
    let mut builder = Builder::new(Tasks(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Guarded` watches the head instead: hyper's timer would also end connections
        // that merely rest between two requests.
        .header_read_timeout(None)
        // A client that closes its sending side has left; its request is cancelled.
        .half_close(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .max_send_buf_size(BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

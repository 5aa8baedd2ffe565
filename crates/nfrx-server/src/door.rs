//! Connections: accepted within bounds, served until they end, closed in order.

mod accept;
mod bounds;
mod guarded;
mod protocol;
mod state;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use nfrx_runtime::{Drain, WhenWoken};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::config::Limits;
use crate::front::{Front, take_upgrade};
use crate::telemetry::{Bound, Telemetry};

pub(crate) use accept::accept;
pub(crate) use bounds::{Bounds, Permit};
pub(crate) use guarded::Guarded;
use protocol::Tasks;
pub(crate) use state::{Busy, ConnectionState};

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
        let builder = protocol::builder(&limits, &tasks);
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
                let (front, busy) = (Arc::clone(&front), state.begin_request());
                async move { Ok::<_, Infallible>(front.answer(request, peer, busy, take_upgrade::<T>).await) }
            }
        });
        let mut connection = pin!(inner.builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        let mut watching = pin!(WhenWoken::new(inner.watch(&state, false)));
        loop {
            tokio::select! {
                // Most wakes are the connection's: it is asked first.
                biased;
                result = connection.as_mut() => {
                    inner.telemetry.refuse_many(Bound::Http2Streams, state.unserved());
                    if let Err(error) = result {
                        if let Some(bound) = protocol::refusal(&*error) {
                            inner.telemetry.refuse(bound);
                        }
                        debug!(peer = %peer.ip(), %error, "connection ended");
                    }
                    return;
                }
                () = watching.as_mut() => {
                    connection.as_mut().graceful_shutdown();
                    watching.set(WhenWoken::new(inner.watch(&state, true)));
                }
            }
        }
    }
}

impl Inner {
    /// Completes when a connection is to close as soon as nothing runs on it: it was idle
    /// for too long, or the drain began. Until then, and on when it `is_closing`, cuts
    /// answers that nobody takes.
    async fn watch(&self, state: &ConnectionState, is_closing: bool) {
        let tasks = self.tasks.watch();
        let mut draining = pin!(tasks.draining());
        let mut idle = every(self.limits.idle_max);
        let mut stalls = every(self.limits.write_stall_max);
        loop {
            tokio::select! {
                () = draining.as_mut(), if !is_closing => return,
                // A client that shuts a stream's window and goes on to answer pings would
                // hold a worker's slot for ever.
                _ = stalls.tick() => {
                    for _ in 0..state.cut_untaken(self.limits.write_stall_max) {
                        self.telemetry.refuse(Bound::WriteStall);
                    }
                }
                _ = idle.tick(), if !is_closing => {
                    if state.was_idle() {
                        self.telemetry.refuse(Bound::Idle);
                        return;
                    }
                }
            }
        }
    }
}

/// Ticks for the first time when the period is over.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

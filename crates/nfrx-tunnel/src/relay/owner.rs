//! The one task of a tunnel: it moves the bytes, carries the calls, and keeps the
//! control stream. All of HTTP/2 happens here, so that what several streams have to say
//! in one turn leaves in one write.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::client::{Connection, SendRequest};
use nfrx_runtime::WhenWoken;
use nfrx_spi::{BoxFuture, Caller, Io};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::{debug, info};

use super::control::{self, Control, ControlStream};
use super::pump::{Call, pump};
use super::stream::Buffer;
use super::{Handle, INBOX, KeyWatch, Orders, Parts, Pulse, refuse_rest};
use crate::counters::{Counted, TunnelCounters, why_failed};
use crate::limits::{self, STREAMS_MAX};
use crate::ws_io::WsIo;

/// How long the goodbye may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// How often unread buffers are looked at.
const STALL_TICK: Duration = Duration::from_secs(1);

type Wire = WsIo<Pin<Box<dyn Io>>>;

/// Runs a tunnel from the end of its upgrade to its own end.
pub(super) async fn run(parts: Arc<Parts>, io: Pin<Box<dyn Io>>, caller: Caller, key: KeyWatch) {
    let counters = &parts.counters;
    let _open = Counted::new(counters, |counters| &counters.open);
    let pulse = Arc::new(Pulse::new(Arc::clone(&parts.clock)));
    let heard = Arc::clone(&pulse);
    let io = WsIo::new(io, Role::Server, Box::new(move || heard.beat())).await;
    let handshake = Box::pin(limits::client().handshake(io));
    let (send, mut connection) = match tokio::time::timeout(parts.settings.register_max, handshake).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            counters.closed("unregistered").inc();
            return debug!(%error, "an agent's HTTP/2 handshake failed");
        }
        Err(_) => {
            counters.closed("unregistered").inc();
            return debug!("an agent's HTTP/2 handshake took too long");
        }
    };
    let ping = connection.ping_pong();
    let (inbox_end, inbox) = mpsc::channel(INBOX);
    let (orders_end, orders) = watch::channel(Orders::default());
    let handle = Arc::new(Handle { inbox: inbox_end, orders: orders_end, pulse: Arc::clone(&pulse) });
    let tunnel = Arc::downgrade(&handle);
    let control = Control { parts: Arc::clone(&parts), handle, orders, pulse: Arc::clone(&pulse), caller };
    let mut engine = Engine::new(Arc::clone(&parts), connection, inbox, send.clone());
    let buffers = Arc::clone(&engine.buffers);
    let watching = async {
        tokio::select! {
            biased;
            reason = control::keep(control, send) => reason,
            () = measure(ping, parts.settings.heartbeat, &pulse) => ("broken", None),
            never = key.close(tunnel) => match never {},
        }
    };
    let watching = WhenWoken::new(watching);
    // All of these run in this one task. The bytes go first: after a pause of the whole
    // process what has come meanwhile is seen before anybody judges a silence.
    let (reason, goodbye) = tokio::select! {
        biased;
        reason = poll_fn(|cx| engine.poll(cx)) => {
            info!(reason, "a tunnel broke");
            (reason, None)
        }
        reason = watching => reason,
        () = cut_stalled(&buffers, parts.settings.stall_max, counters) => ("broken", None),
    };
    counters.closed(reason).inc();
    // Boxed: what is needed at the end alone would double the task of each idle tunnel.
    Box::pin(engine.close(goodbye)).await;
}

/// Asks the agent for a sign of life now and then, and measures the round trip.
async fn measure(ping: Option<h2::PingPong>, every: Duration, pulse: &Pulse) {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        let sent = Instant::now();
        if ping.ping(h2::Ping::opaque()).await.is_err() {
            // The connection is over; whoever moves its bytes finds out.
            return std::future::pending().await;
        }
        pulse.round_trip.store(sent.elapsed().as_micros().max(1) as u64, Ordering::Relaxed);
    }
}

/// Cuts streams whose readers take nothing.
async fn cut_stalled(buffers: &Buffers, limit: Duration, counters: &TunnelCounters) {
    // Streams are opened in this very task, which asks here after that: nobody need wake it, and
    // thousands of idle tunnels have nothing to look at every second.
    let some = |_: &mut Context<'_>| if lock(buffers).is_empty() { Poll::Pending } else { Poll::Ready(()) };
    loop {
        poll_fn(some).await;
        tokio::time::sleep(STALL_TICK).await;
        let mut cut = 0;
        lock(buffers).retain(|buffer| match buffer.upgrade() {
            Some(buffer) => {
                cut += u64::from(buffer.cut_if_stalled(limit));
                true
            }
            None => false,
        });
        if cut > 0 {
            counters.readers_stalled.add(cut);
            info!(cut, "cut streams whose clients take nothing");
        }
    }
}

/// Moves bytes and carries calls.
struct Engine {
    parts: Arc<Parts>,
    connection: Connection<Wire, Bytes>,
    inbox: mpsc::Receiver<Box<Call>>,
    send: SendRequest<Bytes>,
    pumps: FuturesUnordered<BoxFuture<'static, ()>>,
    buffers: Buffers,
}

type Buffers = Arc<Mutex<Vec<Weak<Buffer>>>>;

fn lock(buffers: &Buffers) -> MutexGuard<'_, Vec<Weak<Buffer>>> {
    buffers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    fn new(
        parts: Arc<Parts>,
        connection: Connection<Wire, Bytes>,
        inbox: mpsc::Receiver<Box<Call>>,
        send: SendRequest<Bytes>,
    ) -> Self {
        Self { parts, connection, inbox, send, pumps: FuturesUnordered::new(), buffers: Buffers::default() }
    }

    /// One turn: new calls, what the streams have to say, then the wire, then what came
    /// over it. `Ready` when the connection is over, with the reason for metrics.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        self.poll_calls(cx);
        if let Poll::Ready(result) = Pin::new(&mut self.connection).poll(cx) {
            // What came with the end still counts: an answer may have ended just before.
            self.poll_pumps(cx);
            return Poll::Ready(match result {
                Ok(()) => "broken",
                Err(error) => {
                    debug!(%error, "a tunnel's connection failed");
                    why_failed(&error)
                }
            });
        }
        self.poll_calls(cx);
        Poll::Pending
    }

    /// Takes calls while there is room, and carries those that run. A call that waits in
    /// the inbox has cost nobody anything but its place there.
    fn poll_calls(&mut self, cx: &mut Context<'_>) {
        loop {
            self.poll_pumps(cx);
            if self.pumps.len() >= STREAMS_MAX as usize {
                // The end of a pump wakes us.
                return;
            }
            let Poll::Ready(Some(call)) = self.inbox.poll_recv(cx) else { return };
            let buffers = Arc::clone(&self.buffers);
            let opened = move |buffer| lock(&buffers).push(buffer);
            let (parts, send) = (Arc::clone(&self.parts), self.send.clone());
            self.pumps.push(Box::pin(pump(parts, send, *call, opened)));
        }
    }

    fn poll_pumps(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.pumps.poll_next_unpin(cx) {}
    }

    /// Fails what still runs, and lets the goodbye leave.
    async fn close(self, goodbye: Option<ControlStream>) {
        let Self { mut connection, inbox, send, pumps, .. } = self;
        drop((pumps, send));
        let leaving = async {
            if let Some(mut stream) = goodbye {
                let heard = async {
                    tokio::select! {
                        _ = &mut connection => {}
                        () = stream.ended() => {}
                    }
                };
                let _ = tokio::time::timeout(GOODBYE, heard).await;
            }
            // With nobody left to use it, the connection says that it goes and closes.
            let _ = tokio::time::timeout(GOODBYE, connection).await;
        };
        tokio::join!(refuse_rest(inbox), leaving);
    }
}

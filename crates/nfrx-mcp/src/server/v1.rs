//! Agents of the old relay: what they can carry of a request, and an honest answer to the
//! rest (MCP contract §2, KD-121 to KD-136).
//!
//! One JSON-RPC request becomes one call over the agent's WebSocket, and one JSON value
//! comes back. One task has the socket; nobody else waits for it.

mod call;
mod calls;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_spi::{BoxFuture, Caller, Clock, CloseReason, Io, Newcomer, Registration, WorkerIntake};
use nfrx_tunnel::legacy::{Heard, LegacyCarrier, Socket};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::offer::{McpOffer, ServerOffer};
use crate::v1::{Frame, Register, Registered};
use call::{Call, OldTunnel, Seen};
use calls::Calls;

/// The carrier's name.
pub(super) const CARRIER: &str = "v1";

/// How long an agent may take to register.
const REGISTER_MAX: Duration = Duration::from_secs(10);

/// How long an agent may take nothing while there is something for it (KD-127).
const STALL_MAX: Duration = Duration::from_secs(30);

/// Calls that may wait for the socket's task to look.
const INBOX: usize = 64;

/// How old agents are served.
#[derive(Debug, Clone, Copy)]
pub(super) struct V1Settings {
    /// How often they are asked for a sign of life.
    pub(super) heartbeat: Duration,
    /// After how much silence one is taken for lost.
    pub(super) dead_after: Duration,
    /// The most bytes of an answer.
    pub(super) answer_bytes_max: u64,
}

/// Takes old agents' connections.
pub(super) struct V1Carrier {
    pub(super) settings: V1Settings,
    pub(super) intake: Arc<dyn WorkerIntake>,
    pub(super) clock: Arc<dyn Clock>,
}

impl LegacyCarrier for V1Carrier {
    fn serve(&self, io: Pin<Box<dyn Io>>, caller: Caller) -> BoxFuture<'static, &'static str> {
        let (settings, intake) = (self.settings, Arc::clone(&self.intake));
        let seen = Seen::new(Arc::clone(&self.clock));
        Box::pin(run(settings, intake, Arc::new(seen), io, caller))
    }
}

async fn run(
    settings: V1Settings,
    intake: Arc<dyn WorkerIntake>,
    seen: Arc<Seen>,
    io: Pin<Box<dyn Io>>,
    caller: Caller,
) -> &'static str {
    let answer_bytes_max = usize::try_from(settings.answer_bytes_max).unwrap_or(usize::MAX);
    // An answer over its limit is told from a flood: only the latter ends the agent.
    let mut socket =
        Socket::of_server(io, answer_bytes_max.saturating_mul(2).saturating_add(64 * 1024)).await;
    let peer = caller.ip();
    let register = match tokio::time::timeout(REGISTER_MAX, register(&mut socket)).await {
        Ok(Ok(register)) => register,
        Ok(Err(reason)) => {
            warn!(%peer, reason, "an old agent's registration failed");
            socket.close(1008, reason).await;
            return "unregistered";
        }
        Err(_) => {
            socket.close(1008, "expected register").await;
            return "unregistered";
        }
    };
    let (calls_end, inbox) = mpsc::channel(INBOX);
    let (orders_end, orders) = watch::channel(None);
    let tunnel = OldTunnel { calls: calls_end, orders: orders_end, seen: Arc::clone(&seen) };
    let registration = registration(register);
    let newcomer = Newcomer { registration, tunnel: Arc::new(tunnel), caller, resume: None };
    let joined = match intake.join(newcomer) {
        Ok(joined) => joined,
        Err(refused) => {
            warn!(%peer, reason = %refused, "an old agent was refused");
            socket.close(1008, &refused.to_string()).await;
            return "refused";
        }
    };
    let welcome = Registered { id: joined.worker_id.clone() };
    socket.say(serde_json::to_string(&welcome).unwrap_or_default());
    joined.membership.open();
    info!(worker = joined.worker_id, %peer, "an old MCP agent joined: update it for sessions, streams and progress");
    let mut engine = Engine {
        socket,
        inbox,
        orders,
        seen,
        settings,
        calls: Calls::new(answer_bytes_max),
        stalled_since: None,
    };
    let ended = engine.run().await;
    let Engine { socket, calls, .. } = engine;
    // First out of the registry, then the calls, then the goodbye.
    drop(joined.membership);
    drop(calls);
    info!(worker = joined.worker_id, reason = ended.name(), "an old MCP agent left");
    let (code, reason) = ended.farewell();
    socket.close(code, reason).await;
    ended.name()
}

/// Reads the first message (MCP contract §2.1).
async fn register(socket: &mut Socket) -> Result<Register, &'static str> {
    loop {
        match poll_fn(|cx| socket.poll_talk(cx)).await {
            Heard::Beat => {}
            Heard::Text(text) => {
                let register: Option<Register> =
                    serde_json::from_str(&text).map_err(|_| "invalid register")?;
                return Ok(register.unwrap_or_default());
            }
            Heard::Closed(_) | Heard::Broken(_) | Heard::Refused { .. } => return Err("expected register"),
        }
    }
}

/// What an old agent offers: one server, under its own id, which judges tokens itself.
fn registration(register: Register) -> Registration {
    let id = register.id.filter(|id| !id.is_empty()).unwrap_or_else(call::new_id);
    let name = register.client_name.unwrap_or_default();
    let server = ServerOffer {
        id: id.clone(),
        name: name.clone(),
        ready: true,
        pass_authorization: true,
        ..ServerOffer::default()
    };
    let offer = McpOffer { servers: vec![server], ..McpOffer::default() };
    Registration {
        worker_id: id,
        worker_name: name,
        models: Vec::new(),
        max_concurrency: 0,
        version: String::new(),
        build_sha: String::new(),
        build_date: String::new(),
        agent_config: [offer.into_fact()].into(),
    }
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed(CloseReason),
    Dead,
    Left,
    /// It was over a bound.
    Refused(&'static str),
    Broken,
}

impl Ended {
    fn name(self) -> &'static str {
        match self {
            Self::Closed(CloseReason::Replaced) => "replaced",
            Self::Closed(CloseReason::ServerStopping) => "server_stopping",
            Self::Closed(CloseReason::Disconnected) => "disconnected",
            Self::Closed(_) => "protocol_error",
            Self::Dead => "expired",
            Self::Left => "agent_left",
            Self::Refused(reason) => reason,
            Self::Broken => "broken",
        }
    }

    fn farewell(self) -> (u16, &'static str) {
        match self {
            Self::Closed(reason) => (1001, reason.as_str()),
            Self::Dead => (1000, "dead"),
            Self::Left => (1000, ""),
            Self::Refused(reason) => (1008, reason),
            Self::Broken => (1011, "server error"),
        }
    }
}

/// A registered agent.
struct Engine {
    socket: Socket,
    inbox: mpsc::Receiver<Call>,
    orders: watch::Receiver<Option<CloseReason>>,
    seen: Arc<Seen>,
    settings: V1Settings,
    calls: Calls,
    /// Since when the agent takes nothing of what there is for it.
    stalled_since: Option<Instant>,
}

impl Engine {
    async fn run(&mut self) -> Ended {
        let heartbeat = self.settings.heartbeat;
        let mut beat = tokio::time::interval_at(Instant::now() + heartbeat, heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut orders = self.orders.clone();
            tokio::select! {
                biased;
                ended = poll_fn(|cx| self.poll(cx)) => return ended,
                changed = orders.changed() => {
                    let close = *self.orders.borrow_and_update();
                    if let Some(reason) = close.or(changed.is_err().then_some(CloseReason::Disconnected)) {
                        return Ended::Closed(reason);
                    }
                }
                _ = beat.tick() => {
                    if self.seen.silence() >= self.settings.dead_after {
                        return Ended::Dead;
                    }
                    if self.stalled_since.is_some_and(|since| since.elapsed() >= STALL_MAX) {
                        warn!("an old agent takes nothing that it is sent");
                        return Ended::Broken;
                    }
                    // Old agents answer this one (KD-136).
                    self.socket.say(Frame { t: "ping".to_owned(), ..Frame::default() }.text());
                }
            }
        }
    }

    /// One turn: who left, what is new, what comes in. `Ready` when the tunnel is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            self.calls.poll_gone(cx, |sid| self.socket.say(Frame::close(sid, "timeout").text()));
            while let Poll::Ready(Some(call)) = self.inbox.poll_recv(cx) {
                if let Some(text) = self.calls.add(call, cx) {
                    self.socket.say(text);
                }
            }
            let heard = self.socket.poll_talk(cx);
            let waits = self.socket.urgent_len() > 0;
            self.stalled_since = waits.then(|| self.stalled_since.unwrap_or_else(Instant::now));
            match heard {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Heard::Text(text)) => {
                    self.seen.now();
                    match serde_json::from_str::<Frame<'_>>(&text) {
                        Ok(frame) => {
                            for text in self.calls.take(&frame) {
                                self.socket.say(text);
                            }
                        }
                        Err(error) => debug!(%error, "an old agent's message was passed over"),
                    }
                }
                Poll::Ready(Heard::Beat) => self.seen.now(),
                Poll::Ready(Heard::Closed(_)) => return Poll::Ready(Ended::Left),
                Poll::Ready(Heard::Refused { reason, problem }) => {
                    warn!(problem, "an old agent was refused");
                    return Poll::Ready(Ended::Refused(reason));
                }
                Poll::Ready(Heard::Broken(problem)) => {
                    debug!(problem, "an old agent's tunnel broke");
                    return Poll::Ready(Ended::Broken);
                }
            }
        }
    }
}

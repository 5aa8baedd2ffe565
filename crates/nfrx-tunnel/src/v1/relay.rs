//! The server's end of a v1 tunnel: one task that sends requests, sorts answers, and keeps
//! the worker's place in the pool.

mod call;
mod open;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_spi::{
    Caller, CloseReason, Heartbeat, Io, JoinRefused, Joined, Membership, Newcomer, Registration, StatusUpdate,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::FIRST_MESSAGE_BYTES_MAX;
use super::frame::{Frame, Kind};
use super::socket::{Heard, Socket};
use crate::counters::{Counted, FLOOD, MESSAGE_BYTES};
use crate::relay::{INBOX, KeyWatch, Orders, Parts, Pulse, close_name, refuse_rest};
use call::{Call, Gone, Handle};
use open::OpenRequests;

#[cfg(feature = "fuzzing")]
pub(super) use {call::opening, open::head};

/// Unread answers and updates that came too fast are looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// An agent's updates are applied at most this often in a second: each may change what the
/// whole pool looks through. Of those beyond only the newest counts (KD-18).
const UPDATES_PER_TICK: u32 = 20;

/// What is heard from an agent at a stretch: however much it says, its own requests, the
/// orders to close and the ticks get their turns.
const HEARD_PER_TURN: usize = 64;

/// Cancels that wait for an agent which takes nothing; beyond it the agent is lost (KD-18).
const CANCELS_MAX: usize = 1024;

/// Runs a tunnel from the end of its upgrade to its own end.
pub(crate) async fn run(parts: Arc<Parts>, io: Pin<Box<dyn Io>>, caller: Caller, key: KeyWatch) {
    let counters = Arc::clone(&parts.counters);
    let _open = Counted::new(&counters, |counters| &counters.open);
    let pulse = Arc::new(Pulse::new(Arc::clone(&parts.clock)));
    let mut socket = Socket::server(io).await;
    let registering = tokio::time::timeout(parts.settings.register_max, register(&mut socket));
    let registration = match registering.await {
        Ok(Ok(registration)) => registration,
        Ok(Err(Unregistered { why, code, reason })) => {
            warn!(peer = %caller.ip(), reason, "an agent's registration failed");
            counters.closed(why).inc();
            return socket.close(code, reason).await;
        }
        Err(_) => {
            warn!(peer = %caller.ip(), "an agent did not register in time");
            counters.closed("unregistered").inc();
            return socket.close(1008, "expected register").await;
        }
    };
    let (inbox_end, inbox) = mpsc::channel(INBOX);
    let (orders_end, orders) = watch::channel(Orders::default());
    let gone = Arc::new(Gone::default());
    let handle = Arc::new(Handle {
        inbox: inbox_end,
        orders: orders_end,
        pulse: Arc::clone(&pulse),
        gone: Arc::clone(&gone),
        parts: Arc::clone(&parts),
    });
    // Not held here: the tunnel ends when nobody else has it.
    let tunnel = Arc::downgrade(&handle);
    let peer = caller.ip();
    let newcomer = Newcomer { registration, tunnel: handle, caller, resume: None };
    let Joined { worker_id, epoch, membership, .. } = match parts.intake.join(newcomer) {
        Ok(joined) => joined,
        Err(refused) => {
            warn!(%peer, reason = %refused, "a worker was refused");
            counters.closed("refused").inc();
            return socket.close(close_code_of(&refused), &refused.to_string()).await;
        }
    };
    membership.open();
    info!(worker = %worker_id, epoch, %peer, carrier = super::NAME, "worker joined");
    let mut engine = Engine {
        open: OpenRequests::new(Arc::clone(&parts)),
        parts,
        socket,
        inbox,
        orders,
        pulse,
        gone,
        membership,
        pace: Pace::default(),
    };
    let ended = tokio::select! {
        biased;
        ended = engine.run() => ended,
        never = key.close(tunnel) => match never {},
    };
    let Engine { socket, inbox, open, membership, .. } = engine;
    // First out of the pool, then the requests, then the goodbye.
    drop(membership);
    drop(open);
    info!(worker = %worker_id, epoch, reason = ended.name(), "worker left");
    counters.closed(ended.name()).inc();
    let (code, reason) = ended.farewell();
    tokio::join!(refuse_rest(inbox), socket.close(code, reason));
}

/// Why an agent did not register.
struct Unregistered {
    /// For metrics.
    why: &'static str,
    /// What the agent is told.
    code: u16,
    reason: &'static str,
}

/// Reads the first message, which must be a registration (worker protocol §5).
async fn register(socket: &mut Socket) -> Result<Registration, Unregistered> {
    let wrong = |code, reason| Unregistered { why: "unregistered", code, reason };
    let too_large = Unregistered { why: MESSAGE_BYTES, code: 1009, reason: "too large" };
    loop {
        match poll_fn(|cx| socket.poll_hear(cx)).await {
            Heard::Beat => {}
            Heard::Text(text) if text.len() > FIRST_MESSAGE_BYTES_MAX => return Err(too_large),
            Heard::Text(text) => {
                let is_register =
                    serde_json::from_str::<Kind<'_>>(&text).is_ok_and(|frame| frame.kind == "register");
                if !is_register {
                    return Err(wrong(1008, "expected register"));
                }
                return serde_json::from_str(&text).map_err(|_| wrong(1011, "server error"));
            }
            Heard::Refused { reason: FLOOD, .. } => {
                return Err(Unregistered { why: FLOOD, code: 1008, reason: "flood" });
            }
            Heard::Refused { .. } => return Err(too_large),
            Heard::Closed(_) | Heard::Broken(_) => return Err(wrong(1011, "server error")),
        }
    }
}

fn close_code_of(refused: &JoinRefused) -> u16 {
    match refused {
        JoinRefused::IdInUse { .. } | JoinRefused::IdNotAllowed { .. } => 1008,
        JoinRefused::Full { .. } => 1013,
        JoinRefused::Draining => 1001,
    }
}

/// How a tunnel ended.
enum Ended {
    Closed(CloseReason),
    /// It was over a bound.
    Refused(&'static str),
    Broken,
}

impl Ended {
    /// The reason in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Closed(reason) => close_name(*reason),
            Self::Refused(reason) => reason,
            Self::Broken => "broken",
        }
    }

    /// What the agent is told. An old one knows 1000 and 1001 as no error.
    fn farewell(&self) -> (u16, &'static str) {
        match self {
            Self::Closed(CloseReason::AgentLeft) => (1000, ""),
            Self::Closed(CloseReason::ProtocolError) => (1008, CloseReason::ProtocolError.as_str()),
            // As the old server says it (worker protocol §6).
            Self::Closed(CloseReason::Unauthorized) => (1008, "unauthorized"),
            Self::Closed(reason) => (1001, reason.as_str()),
            Self::Refused(reason) => (1008, reason),
            Self::Broken => (1011, "server error"),
        }
    }
}

/// A registered tunnel.
struct Engine {
    parts: Arc<Parts>,
    socket: Socket,
    inbox: mpsc::Receiver<Call>,
    orders: watch::Receiver<Orders>,
    pulse: Arc<Pulse>,
    gone: Arc<Gone>,
    open: OpenRequests,
    membership: Box<dyn Membership>,
    pace: Pace,
}

impl Engine {
    async fn run(&mut self) -> Ended {
        let mut ticks = tokio::time::interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let expiry = self.parts.settings.expiry;
            let patience = self.parts.clock.sleep(expiry.saturating_sub(self.pulse.silence()));
            let mut orders = self.orders.clone();
            // The wire goes first: after a pause of the whole process what has come meanwhile
            // is heard before anybody judges a silence.
            tokio::select! {
                biased;
                ended = poll_fn(|cx| self.poll(cx)) => return ended,
                changed = orders.changed() => {
                    let close = self.orders.borrow_and_update().close;
                    // There is no message that tells a v1 agent to go elsewhere (KD-62).
                    if let Some(reason) = close.or(changed.is_err().then_some(CloseReason::Disconnected)) {
                        return Ended::Closed(reason);
                    }
                }
                _ = ticks.tick() => self.tick(),
                () = patience => {
                    if self.pulse.silence() >= expiry {
                        return Ended::Closed(CloseReason::Expired);
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        for id in self.open.cut_stalled(self.parts.settings.stall_max) {
            self.cancel(&id);
        }
        if let Some(update) = self.pace.tick() {
            self.membership.update(update);
        }
    }

    /// One turn: who left, what goes out, what comes in. `Ready` when the tunnel is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        // Looked at here as well: the runtime lets a task that reads without a pause wait for
        // nothing else.
        if let Some(reason) = self.orders.borrow().close {
            return Poll::Ready(Ended::Closed(reason));
        }
        for _ in 0..HEARD_PER_TURN {
            for id in self.gone.take(cx) {
                if self.open.forget(&id) {
                    self.cancel(&id);
                }
            }
            if self.socket.urgent_len() > CANCELS_MAX {
                return Poll::Ready(Ended::Broken);
            }
            let (inbox, open) = (&mut self.inbox, &mut self.open);
            let sent = self.socket.poll_send(cx, |cx| next_request(cx, inbox, open));
            if sent.is_ready() {
                return Poll::Ready(Ended::Broken);
            }
            let heard = match self.socket.poll_hear(cx) {
                Poll::Ready(heard) => heard,
                Poll::Pending => return Poll::Pending,
            };
            self.pulse.beat();
            match heard {
                Heard::Text(text) => self.take(&text),
                Heard::Beat => {}
                Heard::Closed(_) => return Poll::Ready(Ended::Closed(CloseReason::AgentLeft)),
                Heard::Refused { reason, problem } => {
                    debug!(problem, "a v1 agent was refused");
                    return Poll::Ready(Ended::Refused(reason));
                }
                Heard::Broken(problem) => {
                    debug!(problem, "a v1 tunnel broke");
                    return Poll::Ready(Ended::Broken);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn cancel(&mut self, id: &str) {
        self.parts.counters.resets.inc();
        self.socket.say(super::frame::Outgoing::HttpProxyCancel { request_id: id }.text());
    }

    /// What can't be read is passed over, so that newer agents may say more.
    fn take(&mut self, text: &str) {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            return self.take_other(text);
        };
        let id = &*frame.request_id;
        let dies = match &*frame.kind {
            "http_proxy_response_headers" => self.open.head(id, frame.status, frame.headers),
            "http_proxy_response_chunk" => {
                if !frame.data.is_empty() && self.open.has(id) {
                    self.socket.was_asked_for();
                }
                self.open.chunk(id, &frame.data)
            }
            "http_proxy_response_end" => {
                self.open.end(id, frame.error);
                false
            }
            _ => return self.take_other(text),
        };
        if dies {
            self.cancel(id);
        }
    }

    fn take_other(&mut self, text: &str) {
        let Ok(Kind { kind }) = serde_json::from_str(text) else {
            return warn!("an agent's message is not JSON and was passed over");
        };
        match &*kind {
            "heartbeat" => match serde_json::from_str::<Heartbeat>(text) {
                Ok(heartbeat) => self.membership.heartbeat(heartbeat),
                Err(error) => warn!(%error, "an agent's heartbeat was passed over"),
            },
            "status_update" => match serde_json::from_str::<StatusUpdate>(text) {
                Ok(update) => {
                    if let Some(update) = self.pace.take(complete(update)) {
                        self.membership.update(update);
                    }
                }
                Err(error) => warn!(%error, "an agent's update was passed over"),
            },
            other => debug!(kind = other, "an agent's message was passed over"),
        }
    }
}

/// The batch size is read anew from each update, and zero when it is not there (worker
/// protocol §3.3).
fn complete(mut update: StatusUpdate) -> StatusUpdate {
    let config = update.agent_config.get_or_insert_default();
    config.entry("embedding_batch_size".to_owned()).or_insert_with(|| "0".to_owned());
    update
}

/// The next request that somebody still waits for.
fn next_request(
    cx: &mut Context<'_>,
    inbox: &mut mpsc::Receiver<Call>,
    open: &mut OpenRequests,
) -> Option<String> {
    loop {
        let Poll::Ready(Some(call)) = inbox.poll_recv(cx) else { return None };
        if !call.answer.is_closed() {
            return Some(open.add(call));
        }
    }
}

/// Bounds how many updates of an agent are applied.
#[derive(Default)]
struct Pace {
    count: u32,
    waiting: Option<StatusUpdate>,
}

impl Pace {
    /// The update, if it may be applied now; else it waits for the next tick.
    fn take(&mut self, update: StatusUpdate) -> Option<StatusUpdate> {
        self.count += 1;
        let update = match self.waiting.take() {
            None => update,
            Some(older) => newer(older, update),
        };
        if self.count <= UPDATES_PER_TICK {
            return Some(update);
        }
        self.waiting = Some(update);
        None
    }

    fn tick(&mut self) -> Option<StatusUpdate> {
        self.count = 0;
        self.waiting.take()
    }
}

/// Two updates in one, as if applied one after the other.
fn newer(older: StatusUpdate, newer: StatusUpdate) -> StatusUpdate {
    let mut agent_config = older.agent_config.unwrap_or_default();
    agent_config
        .extend(newer.agent_config.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_empty()));
    StatusUpdate {
        max_concurrency: newer.max_concurrency,
        models: newer.models.or(older.models),
        status: newer.status.or(older.status),
        agent_config: Some(agent_config),
    }
}

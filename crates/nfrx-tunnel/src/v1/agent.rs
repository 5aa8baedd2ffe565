//! The agent's end of a v1 tunnel: registers, says what it offers, answers requests.
//!
//! A v1 server never says welcome, nor goodbye before it closes; that it lives is seen by
//! its pongs, which every WebSocket peer owes (RFC 6455 §5.5.2, worker protocol §2).

mod exchange;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_spi::Io;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::{debug, info, warn};

use super::REQUEST_BYTES_MAX;
use super::frame::{Kind, Outgoing, RequestFrame};
use super::socket::{Heard, Socket};
use crate::agent::{Ended, Session};
use crate::control::ByeCode;
use crate::counters::FLOOD;
use crate::limits::STREAMS_MAX;
use crate::link::Loss;
use exchange::{Answer, exchange, refuse};

#[cfg(feature = "fuzzing")]
pub(super) use exchange::request;

/// How often v1 agents show that they live (worker protocol §3.2).
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Silence after which the server is lost; each heartbeat has a ping with it, so that three
/// of them were not answered.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Answers' messages that wait for the socket, over all requests. Each request waits with
/// its next message until the last has left, so that they take turns.
const OUTBOX: usize = 16;

/// Heartbeats and updates that wait for a server which takes nothing; beyond it the server
/// is lost.
const UNSAID_MAX: usize = 16;

/// What is heard from a server at a stretch: however much it says, the heartbeat and the
/// order to drain get their turns.
const HEARD_PER_TURN: usize = 64;

/// A request's body in base64, and what is around it.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX / 3 * 4 + 1024 * 1024;

/// Serves a tunnel over an upgraded connection. When this returns, everything that came
/// through it is cancelled (KD-40).
pub(crate) async fn serve(io: Pin<Box<dyn Io>>, session: &Session) -> Ended {
    *session.heard.lock() = Some(Instant::now());
    let mut socket = Socket::new(io, Role::Client, MESSAGE_BYTES_MAX).await;
    let mut offers = session.offer.clone();
    let registration = offers.borrow_and_update().registration(&session.identity, None);
    socket.say(Outgoing::Register((&registration).into()).text());
    session.state.send_replace(crate::link::LinkState::Connected { worker_id: registration.worker_id });
    info!(carrier = super::NAME, "connected");
    let (outbox, answers) = mpsc::channel(OUTBOX);
    let mut tunnel = Tunnel {
        session: session.clone(),
        socket,
        outbox,
        answers,
        running: JoinSet::new(),
        requests: HashMap::new(),
    };
    let ended = tunnel.keep(offers).await;
    let Tunnel { socket, mut running, .. } = tunnel;
    running.abort_all();
    let (code, reason) = match &ended {
        Ended::Drained => (1000, "drained"),
        Ended::Bye { .. } | Ended::Lost(_) => (1011, "closing"),
    };
    socket.close(code, reason).await;
    ended
}

struct Tunnel {
    session: Session,
    socket: Socket,
    outbox: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    running: JoinSet<()>,
    /// The requests that the server waits for; of others nothing more is said.
    requests: HashMap<Arc<str>, AbortHandle>,
}

impl Tunnel {
    async fn keep(&mut self, mut offers: tokio::sync::watch::Receiver<crate::Offer>) -> Ended {
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let drain = self.session.drain.clone();
        let mut draining = false;
        let mut bytes_heard = 0;
        loop {
            if draining && self.requests.is_empty() {
                return Ended::Drained;
            }
            tokio::select! {
                biased;
                ended = poll_fn(|cx| self.poll(cx)) => match ended {
                    Some(ended) => return ended,
                    // A request ended: look again whether that was the last.
                    None => continue,
                },
                _ = beat.tick() => {
                    if self.socket.bytes_heard() > bytes_heard {
                        bytes_heard = self.socket.bytes_heard();
                        *self.session.heard.lock() = Some(Instant::now());
                    }
                    if self.session.silence() >= SILENCE_MAX {
                        return Ended::Lost(Loss::silence("nothing came from the server for too long"));
                    }
                    if self.socket.urgent_len() >= UNSAID_MAX {
                        return Ended::Lost(Loss::silence("the server took nothing for too long"));
                    }
                    self.socket.say(Outgoing::Heartbeat((self.session.heartbeat)()).text());
                    self.socket.ping();
                }
                changed = offers.changed(), if !draining => {
                    if changed.is_err() {
                        return Ended::Drained;
                    }
                    let update = offers.borrow_and_update().update();
                    self.socket.say(Outgoing::StatusUpdate(&update).text());
                }
                () = drain.draining(), if !draining => {
                    draining = true;
                    info!("draining");
                    let last = offers.borrow().clone().drained().update();
                    self.socket.say(Outgoing::StatusUpdate(&last).text());
                }
            }
        }
    }

    /// One turn: what goes out, what comes in, which requests are done. `Ready` with an end,
    /// or with nothing when a request is done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        for _ in 0..HEARD_PER_TURN {
            let (answers, requests) = (&mut self.answers, &mut self.requests);
            let mut done = false;
            let sent = self.socket.poll_send(cx, |cx| next_answer(cx, answers, requests, &mut done));
            if sent.is_ready() {
                return Poll::Ready(Some(Ended::Lost("the connection broke".into())));
            }
            while let Poll::Ready(Some(_)) = self.running.poll_join_next(cx) {}
            if done {
                return Poll::Ready(None);
            }
            let Poll::Ready(heard) = self.socket.poll_hear(cx) else { return Poll::Pending };
            *self.session.heard.lock() = Some(Instant::now());
            if self.requests.len() >= 2 * STREAMS_MAX as usize {
                return Poll::Ready(Some(Ended::Lost(Loss::new(
                    FLOOD,
                    "the server asks and takes no answers",
                ))));
            }
            match heard {
                Heard::Text(text) => self.take(&text),
                Heard::Beat => {}
                Heard::Closed(frame) => return Poll::Ready(Some(closed(frame))),
                Heard::Refused { reason, problem } => {
                    return Poll::Ready(Some(Ended::Lost(Loss::new(reason, problem))));
                }
                Heard::Broken(problem) => return Poll::Ready(Some(Ended::Lost(problem.into()))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What can't be read is passed over (worker protocol §5).
    fn take(&mut self, text: &str) {
        let Ok(Kind { kind }) = serde_json::from_str(text) else {
            return warn!("a server's message is not JSON and was passed over");
        };
        match &*kind {
            "http_proxy_request" => match serde_json::from_str::<RequestFrame<'_>>(text) {
                Ok(request) => self.begin(request),
                Err(error) => warn!(%error, "a request was passed over"),
            },
            "http_proxy_cancel" => {
                let id = serde_json::from_str::<super::frame::Frame<'_>>(text).map(|frame| frame.request_id);
                if let Some(task) = id.ok().and_then(|id| self.requests.remove(&*id)) {
                    task.abort();
                }
            }
            other => debug!(kind = other, "a server's message was passed over"),
        }
    }

    fn begin(&mut self, frame: RequestFrame<'_>) {
        let id: Arc<str> = Arc::from(&*frame.request_id);
        if self.requests.contains_key(&id) {
            return warn!("the server used a request's id twice");
        }
        let (service, outbox) = (Arc::clone(&self.session.service), self.outbox.clone());
        // Noted before it runs, so that no cancel can come too early (KD-65).
        let task = match exchange::request(frame) {
            _ if self.requests.len() >= STREAMS_MAX as usize => {
                self.running.spawn(refuse(nfrx_spi::CallError::Busy, Arc::clone(&id), outbox))
            }
            Some(request) => self.running.spawn(exchange(service, request, Arc::clone(&id), outbox)),
            None => self.running.spawn(refuse(nfrx_spi::CallError::Refused, Arc::clone(&id), outbox)),
        };
        self.requests.insert(id, task);
    }
}

/// The next message of an answer that is still wanted.
fn next_answer(
    cx: &mut Context<'_>,
    answers: &mut mpsc::Receiver<Answer>,
    requests: &mut HashMap<Arc<str>, AbortHandle>,
    done: &mut bool,
) -> Option<String> {
    loop {
        let Poll::Ready(Some(Answer { id, text, last })) = answers.poll_recv(cx) else { return None };
        let wanted = if last { requests.remove(&id).is_some() } else { requests.contains_key(&id) };
        *done |= last;
        if wanted {
            return Some(text);
        }
    }
}

/// What a server's close frame means for dialing again.
fn closed(frame: Option<(u16, String)>) -> Ended {
    let Some((code, reason)) = frame else { return Ended::Lost("the server hung up".into()) };
    Ended::Bye { code: ByeCode::of_close(code), reason }
}

//! The agent towards a server of an old release, which takes one MCP server per connection
//! and single JSON-RPC requests (MCP contract §2 and §4).

mod answer;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nfrx_runtime::DrainWatch;
use nfrx_spi::{BoxFuture, Io};
use nfrx_tunnel::Loss;
use nfrx_tunnel::legacy::{Heard, LegacyEnd, LegacyLink, LegacySession, Socket};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info};

use super::service::McpService;
use crate::digest::TokenDigest;
use crate::offer::ServerOffer;
use crate::v1::{Frame, Register, Registered, UNAUTHORIZED};

/// How often old servers expect a sign of life, and give one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Without a sign for so long the server is taken for lost (KD-130).
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// How long the server may take to acknowledge a registration.
const REGISTERED_MAX: Duration = Duration::from_secs(10);

/// Calls at once; old servers allow 16 by default.
const CALLS_MAX: usize = 256;

/// Answers that wait for the socket; the calls wait with theirs.
const OUTBOX: usize = 16;

/// The most bytes of a message: a request that the server lets in, and what is around it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Speaks with old servers.
pub(super) struct OldLink {
    pub(super) service: McpService,
}

impl LegacyLink for OldLink {
    fn serve(&self, io: Pin<Box<dyn Io>>, session: LegacySession) -> BoxFuture<'static, LegacyEnd> {
        let service = self.service.clone();
        Box::pin(async move {
            let offers = service.offered();
            let [offer] = offers.as_slice() else {
                let problem = format!(
                    "this nfrx server is an old release, which takes one MCP server from an agent: run an agent for each of the {}, or update the server",
                    offers.len()
                );
                return LegacyEnd::Lost(problem.into());
            };
            run(service, offer.clone(), io, session).await
        })
    }
}

async fn run(
    service: McpService,
    offer: ServerOffer,
    io: Pin<Box<dyn Io>>,
    session: LegacySession,
) -> LegacyEnd {
    let mut socket = Socket::of_agent(io, MESSAGE_BYTES_MAX).await;
    let register = Register { client_name: Some(offer.name.clone()), id: Some(offer.id.clone()) };
    socket.say(serde_json::to_string(&register).unwrap_or_default());
    let registered = tokio::time::timeout(REGISTERED_MAX, registered(&mut socket)).await;
    let id = match registered {
        Ok(Ok(id)) => id,
        Ok(Err(end)) => return end,
        Err(_) => return LegacyEnd::Lost(Loss::silence("the server did not acknowledge the registration")),
    };
    info!(server = id, "connected to a server of an old release: no sessions, streams or progress");
    session.connected(id);
    let (outbox, answers) = mpsc::channel(OUTBOX);
    let mut link = Link {
        service,
        offer,
        drain: session.drain,
        socket,
        outbox,
        answers,
        running: JoinSet::new(),
        calls: HashMap::new(),
        heard: Instant::now(),
    };
    let end = link.keep().await;
    let Link { socket, mut running, .. } = link;
    running.abort_all();
    match &end {
        LegacyEnd::Drained => socket.close(1000, "drained").await,
        LegacyEnd::Closed { .. } | LegacyEnd::Lost(_) => socket.close(1011, "closing").await,
    }
    end
}

/// Waits for the acknowledgement, and gives the id that the server uses.
async fn registered(socket: &mut Socket) -> Result<String, LegacyEnd> {
    loop {
        match poll_fn(|cx| socket.poll_talk(cx)).await {
            Heard::Beat => {}
            Heard::Text(text) => {
                let registered: Registered = serde_json::from_str(&text).unwrap_or_default();
                return Ok(registered.id);
            }
            other => return Err(ended(other)),
        }
    }
}

/// What the end of a connection means. The reason is the server's own (KD-132).
fn ended(heard: Heard) -> LegacyEnd {
    match heard {
        Heard::Closed(Some((code, reason))) => LegacyEnd::Closed { code, reason },
        Heard::Refused { reason, problem } => LegacyEnd::Lost(Loss::new(reason, problem)),
        Heard::Broken(problem) => LegacyEnd::Lost(problem.into()),
        Heard::Closed(None) | Heard::Text(_) | Heard::Beat => LegacyEnd::Lost("the server hung up".into()),
    }
}

/// An answer on its way out.
struct Done {
    sid: String,
    text: String,
}

struct Link {
    service: McpService,
    offer: ServerOffer,
    drain: DrainWatch,
    socket: Socket,
    outbox: mpsc::Sender<Done>,
    answers: mpsc::Receiver<Done>,
    running: JoinSet<()>,
    /// The calls that the server opened, and the tasks of those that run.
    calls: HashMap<String, Option<AbortHandle>>,
    heard: Instant,
}

impl Link {
    async fn keep(&mut self) -> LegacyEnd {
        let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let drain = self.drain.clone();
        loop {
            let draining = drain.is_draining();
            if draining && self.calls.is_empty() {
                return LegacyEnd::Drained;
            }
            tokio::select! {
                biased;
                end = poll_fn(|cx| self.poll(cx)) => match end {
                    Some(end) => return end,
                    // A call ended: look again whether that was the last.
                    None => continue,
                },
                _ = beat.tick() => {
                    if self.heard.elapsed() >= SILENCE_MAX {
                        return LegacyEnd::Lost(Loss::silence("nothing came from the server for too long"));
                    }
                    self.socket.say(Frame { t: "ping".to_owned(), ..Frame::default() }.text());
                }
                () = drain.draining(), if !draining => info!("draining"),
            }
        }
    }

    /// One turn: what goes out, what comes in. `Ready` with an end, or with nothing when a
    /// call is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<LegacyEnd>> {
        loop {
            while let Poll::Ready(Some(_)) = self.running.poll_join_next(cx) {}
            let mut over = false;
            // One answer at a time: what waits for the socket is bounded by the outbox.
            if self.socket.urgent_len() == 0
                && let Poll::Ready(Some(Done { sid, text })) = self.answers.poll_recv(cx)
                && self.calls.remove(&sid).is_some()
            {
                self.socket.say(text);
                self.socket.say(Frame::close(&sid, "done").text());
                over = true;
            }
            let heard = self.socket.poll_talk(cx);
            if over {
                return Poll::Ready(None);
            }
            let Poll::Ready(heard) = heard else { return Poll::Pending };
            self.heard = Instant::now();
            match heard {
                Heard::Text(text) => match serde_json::from_str::<Frame<'_>>(&text) {
                    Ok(frame) => self.take(&frame),
                    Err(error) => debug!(%error, "a server's message was passed over"),
                },
                Heard::Beat => {}
                other => return Poll::Ready(Some(ended(other))),
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        let sid = frame.sid.as_str();
        match frame.t.as_str() {
            "ping" => self.socket.say(Frame { t: "pong".to_owned(), ..Frame::default() }.text()),
            "open" => {
                let answer = self.opened(frame);
                self.socket.say(answer.text());
            }
            "rpc" => self.begin(frame),
            "close" => {
                if let Some(Some(task)) = self.calls.remove(sid) {
                    task.abort();
                }
            }
            _ => {}
        }
    }

    /// Whether a call may begin.
    fn opened(&mut self, frame: &Frame<'_>) -> Frame<'static> {
        let knows = |token: &TokenDigest| token.is_of(&frame.auth);
        let refuse = |code: &str, why: &str| Frame {
            code: code.to_owned(),
            msg: why.to_owned(),
            ..Frame::of("open.fail", &frame.sid)
        };
        if !self.offer.token.as_ref().is_none_or(knows) {
            return refuse(UNAUTHORIZED, "unauthorized");
        }
        if self.drain.is_draining() || self.calls.len() >= CALLS_MAX {
            return refuse("MCP_PROVIDER_UNAVAILABLE", "this agent takes no more calls now");
        }
        self.calls.insert(frame.sid.clone(), None);
        Frame::of("open.ok", &frame.sid)
    }

    /// Runs a call that was opened; what was not is passed over: its token was not judged.
    fn begin(&mut self, frame: &Frame<'_>) {
        let (Some(call @ None), Some(payload)) = (self.calls.get_mut(&frame.sid), frame.payload) else {
            return;
        };
        let (service, id, sid) = (self.service.clone(), self.offer.id.clone(), frame.sid.clone());
        let (payload, outbox) = (Box::<str>::from(payload.get()), self.outbox.clone());
        *call = Some(self.running.spawn(async move {
            let answer = answer::to(&service, &id, &payload).await;
            let text = Frame::of("rpc", &sid).with(&answer).text();
            // The socket's task is gone: so is whoever waits.
            let _ = outbox.send(Done { sid, text }).await;
        }));
    }
}

/// What an agent speaks with servers that know no newer carrier.
pub(super) fn link(service: &McpService) -> Arc<dyn LegacyLink> {
    Arc::new(OldLink { service: service.clone() })
}

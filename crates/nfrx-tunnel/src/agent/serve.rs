//! One tunnel from the agent's side, from its handshake to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use nfrx_runtime::DrainWatch;
use nfrx_spi::{CallError, Heartbeat, Io};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::debug;

use super::{AgentService, Identity, Offer, control, stream};
use crate::control::{ByeCode, PATH, RESERVED_PATH};
use crate::limits;
use crate::link::{LinkState, Loss};
use crate::turn::Turn;
use crate::ws_io::WsIo;

/// How long the handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// How long the last frames may take to leave.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// What all tunnels of an agent share.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) identity: Arc<Identity>,
    pub(crate) offer: watch::Receiver<Offer>,
    pub(crate) service: Arc<dyn AgentService>,
    pub(crate) heartbeat: Arc<dyn Fn() -> Heartbeat + Send + Sync>,
    pub(crate) drain: DrainWatch,
    pub(crate) state: watch::Sender<LinkState>,
    /// The id and token of the registration to continue.
    pub(crate) resume: Shared<Option<(String, String)>>,
    pub(crate) heard: Shared<Option<Instant>>,
}

/// A value behind a lock that can't be poisoned.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// We drained and had nothing left.
    Drained,
    /// The relay said goodbye.
    Bye { code: ByeCode, reason: String },
    /// It broke.
    Lost(Loss),
}

impl Session {
    pub(super) fn welcomed(&self, worker_id: String, resume: String) {
        *self.resume.lock() = Some((worker_id.clone(), resume));
        self.state.send_replace(LinkState::Connected { worker_id });
    }

    pub(crate) fn silence(&self) -> Duration {
        self.heard.lock().map_or(Duration::ZERO, |heard| heard.elapsed())
    }
}

/// Serves a tunnel over an upgraded connection. When this returns, everything that came
/// through it is cancelled (KD-40).
pub(crate) async fn serve(io: Pin<Box<dyn Io>>, session: &Session) -> Ended {
    let heard = session.heard.clone();
    *heard.lock() = Some(Instant::now());
    let hear = Box::new(move || *heard.lock() = Some(Instant::now()));
    let io = WsIo::new(io, Role::Client, hear).await;
    let turn = io.turn();
    let mut connection = match tokio::time::timeout(HANDSHAKE_MAX, limits::server().handshake(io)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Ended::Lost(Loss::of_connection(&error, "the HTTP/2 handshake failed: ")),
        Err(_) => return Ended::Lost(Loss::silence("the HTTP/2 handshake took too long")),
    };
    let mut streams = JoinSet::new();
    let ended = carry(&mut connection, &mut streams, session, &turn).await;
    streams.abort_all();
    connection.graceful_shutdown();
    let closing = async {
        while let Some(Ok((_, respond))) = connection.accept().await {
            // It was on its way when we left: another worker may have it.
            stream::refuse(respond, CallError::Draining);
        }
    };
    let _ = tokio::time::timeout(GOODBYE, closing).await;
    ended
}

type Wire = WsIo<Pin<Box<dyn Io>>>;
type ControlTask = Pin<Box<dyn Future<Output = Ended> + Send>>;

async fn carry(
    connection: &mut Connection<Wire, Bytes>,
    streams: &mut JoinSet<()>,
    session: &Session,
    turn: &Turn,
) -> Ended {
    let mut control: Option<ControlTask> = None;
    let (count, running) = watch::channel(0);
    let opened_until = Instant::now() + HANDSHAKE_MAX;
    loop {
        let kept = async {
            match &mut control {
                Some(task) => task.as_mut().await,
                None => unopened(session, opened_until).await,
            }
        };
        tokio::select! {
            // All requests that came together are begun before anything else is looked at;
            // there are no more of them than streams.
            biased;
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) if request.uri().path() == PATH => {
                    if control.is_none() {
                        control = open_control(request, respond, session, running.clone());
                    }
                }
                Some(Ok((request, respond))) if request.uri().path().starts_with(RESERVED_PATH) => {
                    stream::refuse(respond, CallError::Refused);
                }
                Some(Ok((request, respond))) => {
                    // On the heap: a task is moved three times until it runs.
                    let (service, turn) = (Arc::clone(&session.service), turn.clone());
                    streams.spawn(Box::pin(stream::serve(request, respond, service, turn)));
                    tell(&count, streams.len());
                }
                Some(Err(error)) => {
                    return last_word(control, Ended::Lost(Loss::of_connection(&error, "")));
                }
                None => {
                    let closed = Ended::Lost("the relay closed the tunnel".into());
                    return last_word(control, closed);
                }
            },
            Some(_) = streams.join_next() => {
                while streams.try_join_next().is_some() {}
                tell(&count, streams.len());
            }
            ended = kept => return ended,
        }
    }
}

/// Says how many requests run. Who waits, waits for none: only that is news.
fn tell(count: &watch::Sender<usize>, running: usize) {
    count.send_if_modified(|count| {
        *count = running;
        running == 0
    });
}

/// What the control stream says of the end, when it came together with the end.
fn last_word(control: Option<ControlTask>, ended: Ended) -> Ended {
    control.and_then(FutureExt::now_or_never).unwrap_or(ended)
}

/// A relay that never opens the control stream is none, or its path is dead.
async fn unopened(session: &Session, deadline: Instant) -> Ended {
    tokio::select! {
        () = tokio::time::sleep_until(deadline) => {
            Ended::Lost(Loss::silence("the relay did not open the control stream"))
        }
        () = session.drain.draining() => Ended::Drained,
    }
}

fn open_control(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    session: &Session,
    running: watch::Receiver<usize>,
) -> Option<ControlTask> {
    match respond.send_response(Response::new(()), false) {
        Ok(outgoing) => {
            Some(Box::pin(control::keep(session.clone(), outgoing, request.into_body(), running)))
        }
        Err(error) => {
            debug!(%error, "the control stream can't be answered");
            None
        }
    }
}

//! All legacy sessions of a server: they open with a child, and end when the client says so,
//! when the child ends, or when nobody has used them for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use nfrx_runtime::Drain;
use nfrx_spi::Body;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use super::answer;
use super::child::{self, Ending, Input};
use super::launch::Launch;
use super::message::Message;
use super::session::Session;
use super::starts::Starts;
use super::stderr::LastWords;
use crate::digest::SessionMark;

/// The header by which a session is named.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// How long a client is told to wait when all sessions are taken, in seconds.
const FULL_RETRY_S: u64 = 30;

/// How many sessions there may be, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) struct SessionLimits {
    /// Sessions at once, each with a child.
    pub(in crate::agent) sessions_max: usize,
    /// A session without a reader ends after so long.
    pub(in crate::agent) idle_max: Duration,
    /// How long a child may take to answer `initialize`.
    pub(in crate::agent) start_max: Duration,
}

/// What children are started with.
#[derive(Clone)]
pub(super) struct Nursery {
    pub(super) server: Arc<str>,
    pub(super) launch: Arc<dyn Launch>,
    pub(super) drain: Drain,
    /// What all of them say besides their messages.
    pub(super) words: LastWords,
}

/// The sessions. Clones share them.
#[derive(Clone)]
pub(super) struct Sessions(Arc<Inner>);

struct Inner {
    nursery: Nursery,
    limits: SessionLimits,
    starts: Starts,
    slots: Arc<Semaphore>,
    open: Mutex<BTreeMap<SessionMark, Arc<Session>>>,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(nursery: Nursery, limits: SessionLimits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.sessions_max));
        Self(Arc::new(Inner { nursery, limits, starts: Starts::new(), slots, open: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionMark, Arc<Session>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How starts of children went.
    pub(super) fn starts(&self) -> &Starts {
        &self.0.starts
    }

    /// The session with this id.
    pub(super) fn find(&self, id: &HeaderValue) -> Option<Arc<Session>> {
        self.lock().get(&SessionMark::of(id.as_bytes())).map(Arc::clone)
    }

    /// Ends the session with this id, if there is one.
    pub(super) fn close(&self, id: &HeaderValue) -> bool {
        let closed = self.lock().remove(&SessionMark::of(id.as_bytes()));
        closed.inspect(|session| session.stop()).is_some()
    }

    /// Starts a child for a client's `initialize`, and a session if the child takes it.
    pub(super) async fn open(&self, request: &Message) -> Response<Body> {
        let Inner { nursery, limits, starts, slots, .. } = &*self.0;
        let id = request.raw_id();
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            let sessions_max = limits.sessions_max;
            warn!(server = &*nursery.server, sessions_max, "all sessions are taken, one more was refused");
            return answer::busy(id, "all sessions of this server are taken", FULL_RETRY_S);
        };
        if let Err(failure) = starts.may_start() {
            let wait = failure.until.saturating_duration_since(Instant::now()).as_secs() + 1;
            return answer::busy(id, &failure.why, wait);
        }
        let Some(name) = random() else {
            return answer::failed(id, "no random numbers for a session");
        };
        let process = match nursery.launch.launch() {
            Ok(process) => process,
            Err(error) => return self.failed(request, &format!("the MCP server can't be started: {error}")),
        };
        let (input, orders) = Input::new();
        let session = Session::new(Arc::clone(&nursery.server), input);
        let mark = SessionMark::of(name.as_bytes());
        let (sessions, hearer) = (self.clone(), Arc::clone(&session));
        nursery.drain.spawn("mcp session", async move {
            let nursery = &sessions.0.nursery;
            let unused = async {
                hearer.unused(sessions.0.limits.idle_max).await;
                info!(server = &*nursery.server, "a session that nobody uses ends");
                hearer.stop();
                std::future::pending().await
            };
            tokio::select! {
                () = child::run(nursery, process, orders, Arc::clone(&hearer)) => {}
                () = unused => {}
            }
            sessions.lock().remove(&mark);
            // Until here the child took up room.
            drop(slot);
        });
        let mut opening = Opening { session, is_kept: false };
        let answered = tokio::time::timeout(limits.start_max, opening.session.initialize(request)).await;
        let answered = answered.unwrap_or_else(|_| Err(too_slow(limits.start_max)));
        match answered {
            Err(ending) => self.failed(request, &ending.to_string()),
            Ok(answer) => {
                starts.succeeded();
                let mut response = answer::json(StatusCode::OK, answer.line.clone());
                if let (Some(_), Ok(name)) = (answer.object.get("result"), HeaderValue::from_str(&name)) {
                    response.headers_mut().insert(SESSION_ID, name);
                    opening.is_kept = true;
                    self.keep(mark, Arc::clone(&opening.session));
                }
                response
            }
        }
    }

    fn keep(&self, mark: SessionMark, session: Arc<Session>) {
        let mut open = self.lock();
        // One that ended meanwhile was not there to be removed.
        if !session.is_ended() {
            open.insert(mark, session);
        }
    }

    fn failed(&self, request: &Message, why: &str) -> Response<Body> {
        warn!(server = &*self.0.nursery.server, why, "a session could not be opened");
        self.0.starts.failed(why);
        answer::failed(request.raw_id(), why)
    }

    /// Ends all that are open.
    pub(super) fn close_all(&self) {
        std::mem::take(&mut *self.lock()).into_values().for_each(|session| session.stop());
    }
}

fn too_slow(limit: Duration) -> Ending {
    let reason = format!("the MCP server did not answer `initialize` within {} s", limit.as_secs());
    Ending { reason, last_words: String::new() }
}

/// 128 random bits in hexadecimal.
fn random() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A session that nobody knows yet. Dropped before it is kept, it ends: the client has left,
/// or there is none.
struct Opening {
    session: Arc<Session>,
    is_kept: bool,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_kept {
            self.session.stop();
        }
    }
}

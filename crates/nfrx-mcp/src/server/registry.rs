//! Who serves which public id, now and before.
//!
//! An id has one agent, or several that all say `replicas`; of two that want it alone the
//! newer instance has it (decision 23). Ids that were served once are remembered: a client
//! that comes while the agent is away is asked to come back, not told that there is nothing.

mod claim;
mod intake;
mod known;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nfrx_spi::CloseReason;
use tokio::sync::watch;
use tokio::time::Instant;

use super::agent::Agent;
use crate::digest::{SessionMark, TokenDigest};
use crate::offer::ServerOffer;
use crate::recent::Recent;

pub(super) use intake::Intake;
pub(super) use known::{Known, KnownFile};

/// Sessions whose agent or owner is remembered, over all ids.
const SESSIONS_MAX: usize = 10_000;

/// Requests at once that wait for an agent's return.
const WAITING_MAX: usize = 1000;

/// How the registry judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether a newer instance takes an id over that another connection holds.
    pub(super) newer_takes_over: bool,
    /// Calls at once at one agent.
    pub(super) calls_max: Option<u32>,
}

/// The agents and ids of the plugin.
pub(super) struct Registry {
    rules: Rules,
    state: Mutex<State>,
    /// Grows when somebody comes, changes or leaves.
    changes: watch::Sender<u64>,
    waiting: std::sync::atomic::AtomicUsize,
}

struct State {
    epoch: u64,
    closed: bool,
    /// By the number of their connection, so in the order in which they came.
    agents: BTreeMap<u64, Arc<Agent>>,
    by_worker: HashMap<Arc<str>, u64>,
    /// Which connections serve an id.
    seats: HashMap<String, Vec<u64>>,
    known: Recent<String, Known>,
    sessions: Recent<(String, SessionMark), Session>,
}

/// What is known of a legacy session.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    /// The agent that it lives at.
    worker_id: Arc<str>,
    /// Whose it is; `None` until somebody has used it.
    owner: Option<Owner>,
}

/// Whose a session is: the name of a key, or nobody's in particular (decision 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner(pub(super) Option<Arc<str>>);

/// A server at an agent.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) agent: Arc<Agent>,
    pub(super) server: Arc<ServerOffer>,
}

/// Where a request for an id can go.
pub(super) enum Found {
    /// Here.
    Seat(Seat),
    /// The id is served, but not now.
    Away,
    /// Nobody ever served it.
    Unknown,
    /// The session that was named is somebody else's.
    Foreign,
}

impl Registry {
    /// Without agents; `known` are the ids served before.
    pub(super) fn new(rules: Rules, known: Recent<String, Known>) -> Self {
        let state = State {
            epoch: 0,
            closed: false,
            agents: BTreeMap::new(),
            by_worker: HashMap::new(),
            seats: HashMap::new(),
            known,
            sessions: Recent::new(SESSIONS_MAX),
        };
        Self {
            rules,
            state: Mutex::new(state),
            changes: watch::Sender::default(),
            waiting: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Where a request for `id` can go now. A session that has an agent goes there and
    /// nowhere else; a session that is new to us becomes its first user's.
    pub(super) fn find(&self, id: &str, session: Option<SessionMark>, owner: &Owner) -> Found {
        let mut state = self.lock();
        let at = match session {
            Some(session) => match state.claim(id, session, owner) {
                Ok(at) => at,
                Err(Stranger) => return Found::Foreign,
            },
            None => None,
        };
        match state.seat(id, at.as_deref()) {
            Some(seat) => Found::Seat(seat),
            None if state.seats.contains_key(id) || state.known.peek(id).is_some() => Found::Away,
            None => Found::Unknown,
        }
    }

    /// The same, after a wait for somebody who can take it, if the id is known or a session
    /// is named: its client would take a "not found" for the session's end.
    pub(super) async fn wait_for(
        &self,
        id: &str,
        session: Option<SessionMark>,
        owner: &Owner,
        patience: Duration,
    ) -> Found {
        let deadline = Instant::now() + patience;
        let mut changes = self.changes.subscribe();
        let mut waiting = None;
        loop {
            changes.mark_unchanged();
            let found = self.find(id, session, owner);
            match found {
                Found::Away => {}
                Found::Unknown if session.is_some() => {}
                other => return other,
            }
            if waiting.is_none() {
                waiting = Waiting::begin(&self.waiting);
            }
            let changed = tokio::time::timeout_at(deadline, changes.changed());
            if waiting.is_none() || !matches!(changed.await, Ok(Ok(()))) {
                return Found::Away;
            }
        }
    }

    /// The digest of the id's own token, also while nobody serves it.
    pub(super) fn token(&self, id: &str) -> Option<TokenDigest> {
        let state = self.lock();
        match state.seat(id, None) {
            Some(seat) => seat.server.token.clone(),
            None => state.known.peek(id).and_then(|known| known.token.clone()),
        }
    }

    /// Notes where a session lives that a server has just opened.
    pub(super) fn opened_session(&self, seat: &Seat, session: SessionMark, owner: Owner) {
        let session_of = Session { worker_id: Arc::clone(&seat.agent.worker_id), owner: Some(owner) };
        self.lock().sessions.insert((seat.server.id.clone(), session), session_of);
    }

    /// Forgets a session that is over.
    pub(super) fn ended_session(&self, id: &str, session: SessionMark) {
        self.lock().sessions.remove(&(id.to_owned(), session));
    }

    /// All agents, in the order in which they came.
    pub(super) fn agents(&self) -> Vec<Arc<Agent>> {
        self.lock().agents.values().map(Arc::clone).collect()
    }

    /// The ids that were served, the one used longest ago first.
    pub(super) fn known(&self) -> KnownFile {
        let state = self.lock();
        KnownFile::of(state.known.iter())
    }

    /// Told when somebody comes, changes or leaves.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Nobody comes in any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        for agent in self.agents() {
            agent.tunnel.drain();
        }
    }

    /// Closes all tunnels.
    pub(super) fn close_all(&self, reason: CloseReason) {
        for agent in self.agents() {
            agent.tunnel.close(reason);
        }
    }
}

/// The session is somebody else's.
struct Stranger;

impl State {
    /// The agent of a session, if one is known. The first who names a session that nobody
    /// has named yet owns it: its id is a secret of 128 bits.
    fn claim(&mut self, id: &str, session: SessionMark, owner: &Owner) -> Result<Option<Arc<str>>, Stranger> {
        let key = (id.to_owned(), session);
        if let Some(known) = self.sessions.touch(&key) {
            if *known.owner.get_or_insert_with(|| owner.clone()) != *owner {
                return Err(Stranger);
            }
            return Ok(Some(Arc::clone(&known.worker_id)));
        }
        // With one agent there is no doubt where it lives; with several it is a guess, and
        // remembering one would make it worse.
        let Some([epoch]) = self.seats.get(id).map(Vec::as_slice) else { return Ok(None) };
        let worker_id = self.agents.get(epoch).map(|agent| Arc::clone(&agent.worker_id));
        if let Some(worker_id) = &worker_id {
            let session = Session { worker_id: Arc::clone(worker_id), owner: Some(owner.clone()) };
            self.sessions.insert(key, session);
        }
        Ok(worker_id)
    }

    /// A server for `id` that takes something new: of the agent `at` if one is named, else
    /// of the least busy.
    fn seat(&self, id: &str, at: Option<&str>) -> Option<Seat> {
        let seats = self.seats.get(id)?;
        let offered = seats.iter().filter_map(|epoch| {
            let agent = self.agents.get(epoch).filter(|agent| agent.takes_new())?;
            Some(Seat { agent: Arc::clone(agent), server: agent.server(id)? })
        });
        // An id that has one agent has all its sessions there, also those of an agent that
        // it took over from.
        let fits = |seat: &Seat| match at {
            Some(worker_id) => !seat.server.replicas || *seat.agent.worker_id == *worker_id,
            None => true,
        };
        offered.filter(fits).min_by_key(|seat| (seat.agent.load(), fastrand::u32(..)))
    }
}

/// One request that waits for an agent.
struct Waiting<'a>(&'a std::sync::atomic::AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a std::sync::atomic::AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, std::sync::atomic::Ordering::AcqRel) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
    }
}

//! A connected agent, and the room in it: how much of what may run there at once.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use nfrx_spi::Tunnel;
use nfrx_tunnel::STREAMS_MAX;

use crate::offer::ServerOffer;

/// Of a tunnel's streams, those kept free for answers that clients send to a server's own
/// questions: were calls that wait for them able to fill the tunnel, all would wait for ever.
const ANSWERS_MAX: u32 = 32;

/// Calls never take all of a tunnel: streams that last would find no place beside them.
const CALLS_MAX: u32 = 160;

/// What a request is, as far as room for it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Ends by itself.
    Call,
    /// Lasts as long as its client likes: a GET, or a listen.
    Stream,
    /// An answer or a notification from the client: short, and others may wait for it.
    Answer,
}

/// One connection of an agent.
pub(super) struct Agent {
    /// Counts the connections of the plugin.
    pub(super) epoch: u64,
    /// The agent's own id.
    pub(super) worker_id: Arc<str>,
    /// The way to it.
    pub(super) tunnel: Arc<dyn Tunnel>,
    /// The name of the key it came with.
    pub(super) key: Option<Arc<str>>,
    /// Allows a later connection to take its place.
    pub(super) resume: String,
    /// When its process began, if it says so.
    pub(super) started_ms: u64,
    /// Whether it was welcomed.
    pub(super) open: AtomicBool,
    /// Whether it takes nothing new.
    pub(super) draining: AtomicBool,
    servers: RwLock<Arc<[Arc<ServerOffer>]>>,
    room: Room,
}

/// How much is there and may be there, by [`Sort`].
struct Room {
    calls: AtomicU32,
    streams: AtomicU32,
    answers: AtomicU32,
    calls_max: u32,
}

/// Who an agent is, for [`Agent::new`].
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) worker_id: Arc<str>,
    pub(super) key: Option<Arc<str>>,
    pub(super) resume: String,
    pub(super) started_ms: u64,
}

impl Agent {
    /// An agent that was not welcomed yet and offers nothing.
    pub(super) fn new(identity: Identity, tunnel: Arc<dyn Tunnel>, calls_max: Option<u32>) -> Self {
        let Identity { epoch, worker_id, key, resume, started_ms } = identity;
        let calls_max = calls_max.map_or(CALLS_MAX, |max| max.clamp(1, CALLS_MAX));
        Self {
            epoch,
            worker_id,
            tunnel,
            key,
            resume,
            started_ms,
            open: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            servers: RwLock::new(Arc::new([])),
            room: Room {
                calls: AtomicU32::new(0),
                streams: AtomicU32::new(0),
                answers: AtomicU32::new(0),
                calls_max,
            },
        }
    }

    /// What it offers now.
    pub(super) fn servers(&self) -> Arc<[Arc<ServerOffer>]> {
        Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it offers from now on.
    pub(super) fn set_servers(&self, servers: Vec<Arc<ServerOffer>>) {
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = servers.into();
    }

    /// The server of this public id.
    pub(super) fn server(&self, id: &str) -> Option<Arc<ServerOffer>> {
        self.servers().iter().find(|server| server.id == id).map(Arc::clone)
    }

    /// Whether it takes something new.
    pub(super) fn takes_new(&self) -> bool {
        self.open.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    /// How many calls are with it, for choosing among replicas.
    pub(super) fn load(&self) -> u32 {
        self.room.calls.load(Ordering::Relaxed) + self.room.streams.load(Ordering::Relaxed)
    }

    /// Takes a place for a request, or `None` when there is none.
    pub(super) fn enter(self: &Arc<Self>, sort: Sort) -> Option<Place> {
        let (count, max) = self.room.of(sort);
        let entered =
            count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then_some(now + 1));
        entered.ok().map(|_| Place { agent: Arc::clone(self), sort })
    }
}

impl Room {
    fn of(&self, sort: Sort) -> (&AtomicU32, u32) {
        match sort {
            Sort::Call => (&self.calls, self.calls_max),
            Sort::Stream => (&self.streams, STREAMS_MAX - ANSWERS_MAX - self.calls_max),
            Sort::Answer => (&self.answers, ANSWERS_MAX),
        }
    }
}

/// A request's place at an agent; dropping it gives it back.
pub(super) struct Place {
    agent: Arc<Agent>,
    sort: Sort,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.agent.room.of(self.sort).0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use nfrx_spi::{Body, BoxFuture, CallError, CloseReason, Moment};

    use super::*;

    /// A tunnel that leads nowhere and notes how it was closed.
    #[derive(Default)]
    pub(in crate::server) struct Nowhere {
        pub(in crate::server) closed: std::sync::Mutex<Option<CloseReason>>,
    }

    impl Tunnel for Nowhere {
        fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
            Box::pin(std::future::ready(Err(CallError::Lost)))
        }

        fn last_seen(&self) -> Moment {
            Moment::default()
        }

        fn round_trip(&self) -> Option<Duration> {
            None
        }

        fn carrier(&self) -> &'static str {
            "test"
        }

        fn drain(&self) {}

        fn close(&self, reason: CloseReason) {
            self.closed.lock().expect("not poisoned").get_or_insert(reason);
        }
    }

    fn agent(calls_max: Option<u32>) -> Arc<Agent> {
        let identity =
            Identity { epoch: 1, worker_id: "a".into(), key: None, resume: String::new(), started_ms: 0 };
        Arc::new(Agent::new(identity, Arc::new(Nowhere::default()), calls_max))
    }

    // Seen to fail: with streams counted as calls.
    #[test]
    fn streams_and_answers_have_room_of_their_own() {
        let agent = agent(Some(2));
        let fill = |sort| (0..1000).map_while(|_| agent.enter(sort)).collect::<Vec<_>>();
        let (calls, streams, answers) = (fill(Sort::Call), fill(Sort::Stream), fill(Sort::Answer));
        assert_eq!((calls.len(), answers.len()), (2, 32));
        assert!(streams.len() >= 200, "{} streams", streams.len());
        assert!(calls.len() + streams.len() + answers.len() <= STREAMS_MAX as usize, "a tunnel carries them");
        drop(calls);
        assert!(agent.enter(Sort::Call).is_some() && agent.enter(Sort::Stream).is_none());
        drop(streams);
        assert_eq!(agent.load(), 0);
    }

    #[test]
    fn without_a_limit_a_tunnel_is_still_not_filled_by_calls() {
        let agent = agent(None);
        let calls: Vec<_> = (0..1000).map_while(|_| agent.enter(Sort::Call)).collect();
        assert_eq!(calls.len(), CALLS_MAX as usize);
        assert!(agent.enter(Sort::Stream).is_some() && agent.enter(Sort::Answer).is_some());
    }
}

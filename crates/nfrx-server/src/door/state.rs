//! What a connection's requests tell its socket's guard.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::front::Held;

/// Answers that are noted before those that ended are forgotten; more than a connection
/// has streams.
const NOTED_MAX: usize = 128;

/// Shared by a connection's requests and its guard.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    running: AtomicU32,
    /// Streams of HTTP/2 that the peer began.
    streams: AtomicU64,
    started: AtomicU64,
    started_at_tick: AtomicU64,
    linger: AtomicBool,
    answers: Mutex<Vec<Weak<Held>>>,
}

/// A request that runs; dropping it is its end.
pub(crate) struct Busy(Arc<ConnectionState>);

impl ConnectionState {
    /// Counts a request.
    pub(super) fn begin_request(self: &Arc<Self>) -> Busy {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether a request runs.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Notes how many streams the peer has begun.
    pub(super) fn began_streams(&self, streams: u64) {
        self.streams.store(streams, Ordering::Relaxed);
    }

    /// How many streams became no request.
    pub(super) fn unserved(&self) -> u64 {
        self.streams.load(Ordering::Relaxed).saturating_sub(self.requests())
    }

    /// Whether no request ran or began since this was asked last.
    pub(super) fn was_idle(&self) -> bool {
        let requests = self.requests();
        self.started_at_tick.swap(requests, Ordering::Relaxed) == requests && !self.is_busy()
    }

    /// Notes an answer whose reader can stall on its own.
    pub(crate) fn watch(&self, answer: &Arc<Held>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= NOTED_MAX {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(answer));
    }

    /// Lets go of answers of which nothing was taken for that long; says how many.
    pub(super) fn cut_untaken(&self, limit: Duration) -> usize {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut cut = 0;
        for answer in answers.iter().filter_map(Weak::upgrade) {
            if answer.cut_if_untaken(limit) {
                cut += 1;
            } else {
                self.watch(&answer);
            }
        }
        cut
    }

    /// A request's body was left unread: closing at once would reset the connection and
    /// take the answer with it, so the socket is read on for a moment.
    pub(crate) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    pub(super) fn lingers(&self) -> bool {
        self.linger.load(Ordering::Relaxed)
    }
}

impl Busy {
    /// The connection that it came over.
    pub(crate) fn connection(&self) -> &Arc<ConnectionState> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

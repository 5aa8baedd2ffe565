//! What a connection's requests tell its socket's guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Shared by a connection's requests and its guard.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    running: AtomicU32,
    started: AtomicU64,
    started_at_tick: AtomicU64,
    linger: AtomicBool,
}

/// A request that runs; dropping it is its end.
pub(crate) struct Busy(Arc<ConnectionState>);

impl ConnectionState {
    /// Counts a request.
    pub(crate) fn begin_request(self: &Arc<Self>) -> Busy {
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

    /// Whether no request ran or began since this was asked last.
    pub(super) fn was_idle(&self) -> bool {
        let requests = self.requests();
        self.started_at_tick.swap(requests, Ordering::Relaxed) == requests && !self.is_busy()
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

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

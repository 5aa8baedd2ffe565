//! Kept connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::live::Live;

/// Backends close a connection that was idle for a while, some after five seconds. One
/// that is closed is noticed when it is taken; older ones are not worth the descriptor.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// More than that many idle connections would serve no load we grant.
const KEPT_MAX: usize = 64;

/// Idle connections, the last used first. Nobody watches them while they wait: one that
/// the backend closed is found out when it is taken or swept.
pub(crate) struct Pool {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    live: Box<Live>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(Vec::new()) }
    }

    /// A connection that was open a moment ago.
    pub(crate) fn take(&self) -> Option<Box<Live>> {
        loop {
            let Kept { mut live, since } = self.lock().pop()?;
            if since.elapsed() < KEPT_FOR && live.settle() {
                return Some(live);
            }
        }
    }

    /// Keeps a connection if it can take another request.
    pub(crate) fn keep(&self, mut live: Box<Live>) {
        if !live.settle() {
            return;
        }
        let mut kept = self.lock();
        if kept.len() < KEPT_MAX {
            kept.push(Kept { live, since: Instant::now() });
        }
    }

    /// Closes what is old or was closed by the backend.
    pub(crate) fn sweep(&self) {
        self.lock().retain_mut(|kept| kept.since.elapsed() < KEPT_FOR && kept.live.settle());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

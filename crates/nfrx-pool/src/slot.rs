//! Slots: room for one request in a worker.
//!
//! Dropping a slot frees it, however the request ended, and hands it to the first waiter
//! it fits. The slot of a worker that is gone is nobody's, and its drop does nothing.

use std::fmt;
use std::sync::Arc;

use nfrx_spi::WorkerRef;

use crate::pool::Inner;
use crate::state::WorkerKey;
use crate::worker::Worker;

/// A taken slot.
pub struct Slot {
    pool: Arc<Inner>,
    key: WorkerKey,
    worker: Arc<Worker>,
}

impl Slot {
    pub(crate) fn new(pool: Arc<Inner>, key: WorkerKey, worker: Arc<Worker>) -> Self {
        Self { pool, key, worker }
    }

    /// The worker.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    pub(crate) fn key(&self) -> WorkerKey {
        self.key
    }

    pub(crate) fn pool(&self) -> &Arc<Inner> {
        &self.pool
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.with(|state| state.release(self.key));
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("worker", &self.worker.id()).finish_non_exhaustive()
    }
}

//! Workers join, open, change and leave.

use std::sync::Arc;

use nfrx_spi::WorkerRef;

use super::{Entry, SLOTS_MAX, State, WorkerKey};
use crate::worker::Worker;

/// Something about a worker that changes; `None` leaves it as it is.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) open: Option<bool>,
    pub(crate) held: Option<bool>,
    pub(crate) draining: Option<bool>,
    pub(crate) lost: Option<bool>,
    pub(crate) capacity: Option<u32>,
    /// The labels, with the time in Unix seconds for those seen first.
    pub(crate) labels: Option<(Vec<Arc<str>>, u64)>,
}

impl State {
    /// Takes a worker in, closed, under a key that `make` puts into its handle. One of
    /// the same id is taken out after that, so that nobody finds a gap between the two
    /// (a waiter would be told that its model is gone).
    pub(crate) fn join(
        &mut self,
        labels: &[Arc<str>],
        capacity: u32,
        now: u64,
        make: impl FnOnce(WorkerKey) -> Arc<Worker>,
    ) -> Arc<Worker> {
        self.epoch += 1;
        let epoch = self.epoch;
        let at = self.workers.insert_with(|at| Entry {
            worker: make(WorkerKey { at, epoch }),
            in_flight: 0,
            capacity: capacity.min(SLOTS_MAX),
            open: false,
            held: false,
            draining: false,
            lost: false,
            labels: Vec::new(),
            indexed: false,
        });
        self.offer(at, labels, now);
        let worker = Arc::clone(&self.workers[at].worker);
        let replaced = self.ids.insert(worker.shared_id(), at);
        if let Some(old) = replaced {
            self.take_out(old);
        }
        worker
    }

    /// Takes a worker out, unless it is gone already.
    pub(crate) fn leave(&mut self, key: WorkerKey) -> bool {
        let there = self.entry(key).is_some();
        if there {
            self.take_out(key.at);
        }
        there
    }

    /// Applies a change, unless the worker is gone. Says whether it was there.
    pub(crate) fn change(&mut self, key: WorkerKey, change: Change) -> bool {
        if self.entry(key).is_none() {
            return false;
        }
        self.take_from_index(key.at);
        let entry = &mut self.workers[key.at];
        entry.open = change.open.unwrap_or(entry.open);
        entry.held = change.held.unwrap_or(entry.held);
        entry.draining = change.draining.unwrap_or(entry.draining);
        entry.lost = change.lost.unwrap_or(entry.lost);
        entry.capacity = change.capacity.map_or(entry.capacity, |capacity| capacity.min(SLOTS_MAX));
        let withdrawn = match change.labels {
            Some((labels, now)) => self.offer(key.at, &labels, now),
            None => Vec::new(),
        };
        self.put_in_index(key.at);
        if !withdrawn.is_empty() {
            self.give_up_on(&withdrawn, key.at);
        }
        self.serve_waiters(key.at);
        true
    }

    fn take_out(&mut self, at: u32) {
        self.take_from_index(at);
        let withdrawn = self.withdraw(at, &[]);
        let Some(gone) = self.workers.remove(at) else { return };
        if self.ids.get(gone.worker.id()) == Some(&at) {
            self.ids.remove(gone.worker.id());
        }
        self.give_up_on_worker(&withdrawn, gone.worker.id());
        self.discard(gone.worker);
    }

    /// Labels were withdrawn by a worker that stays.
    fn give_up_on(&mut self, withdrawn: &[u32], at: u32) {
        let worker = Arc::clone(&self.workers[at].worker);
        self.give_up_on_worker(withdrawn, worker.id());
    }

    fn give_up_on_worker(&mut self, withdrawn: &[u32], id: &str) {
        let lines = self.lines_in_doubt(withdrawn, id);
        for label in withdrawn {
            self.forget_if_unused(*label);
        }
        self.refuse_unsupported(lines);
    }
}

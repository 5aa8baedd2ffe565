//! What a request wants of the pool.

use std::sync::Arc;

use crate::pool::Pool;
use crate::slot::Slot;
use crate::state::{State, Ticket, Wish, WorkerKey};

/// Which workers will do for a request. Made once per request, by
/// [`Pool::want`](crate::Pool::want), and kept when it is tried again: the ticket inside
/// puts it in front of those who came later.
#[derive(Debug)]
pub struct Want {
    label: Arc<str>,
    worker: Option<Arc<str>>,
    exclude: Vec<WorkerKey>,
    ticket: Ticket,
}

impl Want {
    pub(crate) fn new(label: Arc<str>, ticket: Ticket) -> Self {
        Self { label, worker: None, exclude: Vec::new(), ticket }
    }

    /// Allows only the worker of this id. Its labels count as everywhere, aliases too
    /// (KD-4).
    pub fn on_worker(mut self, id: impl Into<Arc<str>>) -> Self {
        self.worker = Some(id.into());
        self
    }

    /// The wanted label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Rules out the connection that this slot is on: it was tried.
    pub fn exclude(&mut self, slot: &Slot) {
        let key = slot.key();
        if !self.exclude.contains(&key) {
            self.exclude.push(key);
        }
    }

    pub(crate) fn wish(&self) -> Wish<'_> {
        Wish { label: &self.label, worker: self.worker.as_deref(), exclude: &self.exclude }
    }

    /// The same, for whoever waits on its behalf. Not public: two waits of one request
    /// would be two requests.
    pub(crate) fn copy(&self) -> Self {
        Self {
            label: Arc::clone(&self.label),
            worker: self.worker.clone(),
            exclude: self.exclude.clone(),
            ticket: self.ticket,
        }
    }

    /// The same for one more slot, behind those who came since.
    pub(crate) fn for_more(&self, pool: &Pool) -> Self {
        Self { ticket: pool.inner.with(State::draw_ticket), ..self.copy() }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether it was let in before.
    pub(crate) fn is_again(&self) -> bool {
        !self.exclude.is_empty()
    }
}

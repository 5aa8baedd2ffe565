//! What a pool knows and decides, as plain data without I/O or time.
//!
//! Promised after each operation: no waiter waits while a slot that fits it is free
//! (so whoever comes new may take any free slot without overtaking), no worker is given
//! more than its capacity, and no work is proportional to the number of workers or
//! waiters, except where workers come and go. Wakers are collected and called by the
//! owner of the lock once it is released.

mod index;
mod labels;
mod members;
mod pick;
mod queue;
mod slab;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use nfrx_spi::Scorer;

use crate::worker::Worker;
pub(crate) use index::SLOTS_MAX;
use index::{Levels, Place};
pub(crate) use members::Change;
use pick::Candidates;
use queue::{Line, LineKey, Waiter};
pub(crate) use queue::{Turn, WaiterId};
use slab::Slab;

/// Orders requests by when they came first; kept when a request is tried again.
pub(crate) type Ticket = u64;

/// The label that every worker offers, for scorers that let labels be ignored.
const ANY: u32 = 0;

/// One connection of one worker. An old key of a place that is used again matches
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerKey {
    pub(crate) at: u32,
    pub(crate) epoch: u64,
}

/// Why no slot was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// No connected worker serves this, whatever its load.
    #[error("no worker serves this")]
    NoWorker,
    /// Workers serve this, but none has a free slot and there is no room to wait.
    #[error("every worker is busy and the queue is full")]
    Busy,
}

/// Which worker a request may go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The label it wants.
    pub(crate) label: &'a str,
    /// The only worker that will do.
    pub(crate) worker: Option<&'a str>,
    /// Connections that were tried already, few.
    pub(crate) exclude: &'a [WorkerKey],
}

/// A connected worker.
pub(crate) struct Entry {
    pub(crate) worker: Arc<Worker>,
    pub(crate) in_flight: u32,
    pub(crate) capacity: u32,
    /// The tunnel has welcomed the agent.
    pub(crate) open: bool,
    /// An operator wants nothing new to go there.
    pub(crate) held: bool,
    /// The agent said that it drains.
    pub(crate) draining: bool,
    /// A call found the tunnel closed; no sign of life came since.
    pub(crate) lost: bool,
    /// Ascending by label; the first is [`ANY`].
    labels: Vec<Offer>,
    /// Whether it stands in the levels of its labels.
    indexed: bool,
}

/// One label of one worker, and where the label mentions the worker.
#[derive(Debug)]
struct Offer {
    label: u32,
    member: u32,
    position: u32,
}

/// A label that at least one connected worker offers.
#[derive(Debug)]
struct Label {
    name: Arc<str>,
    created: u64,
    members: Vec<Place>,
    free: Levels,
    /// Lines that a slot under this label fits, by their first ticket.
    lines: BTreeSet<(Ticket, u32)>,
}

/// See the module.
pub(crate) struct State {
    scorer: Arc<dyn Scorer>,
    min_score: f64,
    queue_max: usize,

    workers: Slab<Entry>,
    ids: HashMap<Arc<str>, u32>,
    epoch: u64,

    labels: Slab<Label>,
    names: HashMap<Arc<str>, u32>,
    /// When a label was first offered, in Unix seconds; bounded.
    seen: HashMap<Arc<str>, u64>,
    /// Counts changes of the set of offered labels.
    version: u64,
    candidates: HashMap<Arc<str>, Candidates>,
    /// Whether workers stand in the levels of [`ANY`]: only once a request may ask there.
    any_indexed: bool,

    lines: Slab<Line>,
    line_keys: HashMap<LineKey, u32>,
    targets: HashMap<Arc<str>, BTreeSet<(Ticket, u32)>>,
    waiters: Slab<Waiter>,
    waiter_count: u64,
    /// The tickets of all who wait, ascending.
    order: VecDeque<Ticket>,
    next_ticket: Ticket,

    leftovers: Leftovers,
}

/// What is to be done once the lock is released: foreign code runs then.
#[derive(Default)]
pub(crate) struct Leftovers {
    /// Called.
    pub(crate) wakers: Vec<Waker>,
    /// Dropped; the last handle of a worker takes its tunnel along.
    workers: Vec<Arc<Worker>>,
}

impl State {
    pub(crate) fn new(scorer: Arc<dyn Scorer>, min_score: f64, queue_max: usize) -> Self {
        let mut labels = Slab::default();
        let any = labels.insert(Label::new(Arc::from(""), 0));
        debug_assert_eq!(any, ANY);
        Self {
            scorer,
            min_score,
            queue_max,
            workers: Slab::default(),
            ids: HashMap::new(),
            epoch: 0,
            labels,
            names: HashMap::new(),
            seen: HashMap::new(),
            version: 0,
            candidates: HashMap::new(),
            any_indexed: false,
            lines: Slab::default(),
            line_keys: HashMap::new(),
            targets: HashMap::new(),
            waiters: Slab::default(),
            waiter_count: 0,
            order: VecDeque::new(),
            next_ticket: 0,
            leftovers: Leftovers::default(),
        }
    }

    /// What is to be done once the lock is released.
    pub(crate) fn take_leftovers(&mut self) -> Leftovers {
        std::mem::take(&mut self.leftovers)
    }

    /// Drops a handle once the lock is released.
    pub(crate) fn discard(&mut self, worker: Arc<Worker>) {
        self.leftovers.workers.push(worker);
    }

    /// A ticket behind all drawn before.
    pub(crate) fn draw_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// How many connected workers there are.
    pub(crate) fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// All connected workers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.workers.iter().map(|(_, entry)| entry)
    }

    /// The connected worker of this id.
    pub(crate) fn entry_by_id(&self, id: &str) -> Option<&Entry> {
        self.workers.get(*self.ids.get(id)?)
    }

    /// The worker of this connection, unless it is gone.
    pub(crate) fn entry(&self, key: WorkerKey) -> Option<&Entry> {
        self.workers.get(key.at).filter(|entry| entry.worker.key() == key)
    }

    /// Whether some worker could be given work if it were idle.
    pub(crate) fn has_ready_worker(&self) -> bool {
        self.entries().any(Entry::is_ready)
    }
}

impl Entry {
    /// Whether it takes work at all.
    pub(crate) fn is_ready(&self) -> bool {
        self.open && !self.held && !self.draining && !self.lost && self.capacity > 0
    }

    fn has_room(&self) -> bool {
        self.is_ready() && self.in_flight < self.capacity
    }

    fn offers(&self, label: u32) -> bool {
        self.labels.binary_search_by_key(&label, |offer| offer.label).is_ok()
    }

    fn offers_one_of(&self, labels: &[u32]) -> bool {
        labels.iter().any(|label| self.offers(*label))
    }
}

impl Label {
    fn new(name: Arc<str>, created: u64) -> Self {
        Self { name, created, members: Vec::new(), free: Levels::default(), lines: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests;

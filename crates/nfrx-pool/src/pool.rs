//! The pool itself: one lock around the state, and what others may ask of it.

mod actions;
mod intake;
mod models;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use nfrx_spi::metrics::Gauge;
use nfrx_spi::{CloseReason, Metrics, Moment, PluginStatus, Tunnel, WorkerRef};

use crate::config::PoolConfig;
use crate::dispatch::Budget;
use crate::slot::Slot;
use crate::state::{Change, State, TakeError, WorkerKey};
use crate::sync::Mutex;
use crate::waiting::Waiting;
use crate::want::Want;

/// The workers of one plugin. Cheap to clone: all clones are one pool.
#[derive(Clone)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

/// What slots and waiters hold on to.
pub(crate) struct Inner {
    pub(crate) config: PoolConfig,
    state: Mutex<State>,
    /// What the server was told last; held while telling, so that the last word is true.
    told: Mutex<Told>,
    queue_length: Arc<Gauge>,
    pub(crate) started: Moment,
    pub(crate) totals: Totals,
    pub(crate) budget: Mutex<Budget>,
}

#[derive(Default)]
struct Told {
    draining: bool,
    status: Option<PluginStatus>,
}

/// How requests ended since start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) canceled: AtomicU64,
}

impl Pool {
    /// An empty pool; the server is told that it is not ready.
    pub fn new(config: PoolConfig) -> Self {
        let state = State::new(Arc::clone(&config.scorer), config.min_score, config.queue_max);
        let inner = Inner {
            state: Mutex::new(state),
            told: Mutex::default(),
            queue_length: config.metrics.queue_length(config.plugin),
            started: config.clock.now(),
            totals: Totals::default(),
            budget: Mutex::new(Budget::new(config.clock.now())),
            config,
        };
        inner.publish();
        let inner = Arc::new(inner);
        inner.config.metrics.watch(&inner);
        Self { inner }
    }

    /// A request's wish for a worker that suits `label`, with its place in time.
    pub fn want(&self, label: impl Into<Arc<str>>) -> Want {
        Want::new(label.into(), self.inner.with(State::draw_ticket))
    }

    /// Takes a slot on the best worker, or says why there is none. Never waits, and never
    /// overtakes somebody who waits for that slot.
    pub fn take(&self, want: &Want) -> Result<Slot, TakeError> {
        let (key, worker) = self.inner.with(|state| state.take(want.wish()))?;
        Ok(Slot::new(Arc::clone(&self.inner), key, worker))
    }

    /// Takes a slot as soon as there is one. Fails at once when the queue is full or no
    /// worker serves the wish, and later when the last such worker leaves.
    pub fn wait(&self, want: &Want) -> Waiting {
        Waiting::new(&self.inner, want)
    }

    /// How many requests wait.
    pub fn queue_len(&self) -> usize {
        self.inner.read(State::queue_len)
    }

    /// Whether some worker takes work.
    pub fn is_ready(&self) -> bool {
        self.inner.read(State::has_ready_worker)
    }

    /// Whether a connected worker offers exactly this label: only then may it be a metric
    /// label (KD-30).
    pub fn is_offered(&self, label: &str) -> bool {
        self.inner.read(|state| state.is_offered(label))
    }

    /// An operator wants the worker to finish what it has and take nothing new. Holds on
    /// when the agent reconnects and takes its own place over. `false`: not connected.
    pub fn drain_worker(&self, id: &str) -> bool {
        self.hold(id, true)
    }

    /// Takes [`drain_worker`](Self::drain_worker) back.
    pub fn undrain_worker(&self, id: &str) -> bool {
        self.hold(id, false)
    }

    /// An operator closes the worker's tunnel; what runs there fails. The agent comes
    /// back if it wants to.
    pub fn disconnect_worker(&self, id: &str) -> bool {
        let found = self.inner.read(|state| {
            state.entry_by_id(id).map(|entry| (entry.worker.key(), Arc::clone(entry.worker.tunnel())))
        });
        let Some((key, tunnel)) = found else { return false };
        self.inner.change(key, Change { lost: Some(true), ..Change::default() });
        tunnel.close(CloseReason::Disconnected);
        true
    }

    /// The server is about to end: no worker is admitted any more, and agents are told to
    /// go elsewhere. What runs goes on.
    pub fn drain(&self) {
        self.inner.told.lock().draining = true;
        self.inner.publish();
        for tunnel in self.tunnels() {
            tunnel.drain();
        }
    }

    /// Closes all tunnels.
    pub fn close(&self, reason: CloseReason) {
        for tunnel in self.tunnels() {
            tunnel.close(reason);
        }
    }

    fn hold(&self, id: &str, held: bool) -> bool {
        let key = self.inner.read(|state| state.entry_by_id(id).map(|entry| entry.worker.key()));
        key.is_some_and(|key| self.inner.change(key, Change { held: Some(held), ..Change::default() }))
    }

    fn tunnels(&self) -> Vec<Arc<dyn Tunnel>> {
        self.inner.read(|state| state.entries().map(|entry| Arc::clone(entry.worker.tunnel())).collect())
    }
}

impl Inner {
    /// Changes the state, then does what that brought about.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, leftovers) = {
            let mut state = self.state.lock();
            let result = change(&mut state);
            self.queue_length.set(state.queue_len() as i64);
            (result, state.take_leftovers())
        };
        leftovers.wakers.into_iter().for_each(std::task::Waker::wake);
        result
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }

    /// Tells all who count along.
    pub(crate) fn tell(&self, what: impl Fn(&dyn Metrics)) {
        self.config.observers.iter().for_each(|observer| what(&**observer));
    }

    /// Changes a worker and tells the server if that changes the plugin's readiness.
    pub(crate) fn change(&self, key: WorkerKey, change: Change) -> bool {
        let there = self.with(|state| state.change(key, change));
        if !self.config.observers.is_empty() {
            let now =
                self.read(|state| state.entry(key).map(|entry| (Arc::clone(&entry.worker), entry.status())));
            if let Some((worker, status)) = now {
                self.tell(|observer| observer.set_worker_status(worker.id(), status));
            }
        }
        self.publish();
        there
    }

    /// Tells the server how the plugin is, if that has changed.
    pub(crate) fn publish(&self) {
        let mut told = self.told.lock();
        let status = self.status_given(told.draining);
        if told.status.replace(status) != Some(status) {
            self.config.state.set_status(status);
        }
    }

    /// How the plugin is.
    pub(crate) fn status(&self) -> PluginStatus {
        let draining = self.is_draining();
        self.status_given(draining)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.told.lock().draining
    }

    fn status_given(&self, draining: bool) -> PluginStatus {
        match (draining, self.read(State::has_ready_worker)) {
            (true, _) => PluginStatus::Draining,
            (false, true) => PluginStatus::Ready,
            (false, false) => PluginStatus::NotReady,
        }
    }

    /// Now, in Unix seconds.
    pub(crate) fn unix_now(&self) -> u64 {
        self.config.clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Counts a request's end. `error` is empty for success, `None` when its client left.
    pub(crate) fn count_end(&self, error: Option<&str>) {
        let total = match error {
            Some("") => &self.totals.completed,
            Some(_) => &self.totals.failed,
            None => &self.totals.canceled,
        };
        total.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "loom"))]
mod interleavings;
#[cfg(test)]
mod tests;

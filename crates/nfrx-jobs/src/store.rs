//! Where jobs are kept: a few atomic steps, and the engine behind them.
//!
//! What is answered is on the disk: a step's future completes when its transaction is
//! committed. A step happens whole or not at all, and whoever comes second sees what the
//! first one did; so a job is given to one worker only, whatever happens in between.

mod engine;
mod query;
mod schema;
mod steps;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use nfrx_spi::BoxFuture;

use crate::job::{Change, Job, Order, Outcome, Refused, Status};
use crate::time::Millis;
pub(crate) use engine::Engine;

/// The store can't do what it is for; the client may try again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The engine's own failure: a full disk, a broken file.
    #[error("the job store failed")]
    Engine(#[from] rusqlite::Error),
    /// A record that nobody can read.
    #[error("a job's record is damaged")]
    Record(#[from] serde_json::Error),
    /// The process is about to end.
    #[error("the job store is closed")]
    Closed,
}

/// The store can't be opened: the start stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The folder can't be used.
    #[error(
        "the job store's folder {path} can't be used ({source}): set NFRX_STATE_DIR to one that can be written, or JOBS_STORE=memory"
    )]
    Folder { path: String, source: std::io::Error },
    /// Another process has it.
    #[error("another server uses the job store in {path}: give each its own NFRX_STATE_DIR")]
    Taken { path: String },
    /// The engine refuses the file.
    #[error("the job store {path} can't be opened: {source}")]
    Engine { path: String, source: rusqlite::Error },
    /// It was made by a later version.
    #[error("the job store {path} has format {found}, this version knows up to {known}: use the newer nfrx")]
    Newer { path: String, found: i64, known: i64 },
}

/// A job to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewJob {
    pub(crate) id: String,
    pub(crate) order: Order,
    /// The client's key for making it once, and the digest of what it sent.
    pub(crate) once: Option<Once>,
    /// No more jobs than this may wait.
    pub(crate) queue_max: u64,
    pub(crate) now: Millis,
}

/// What tells the same order from another under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once {
    /// Scoped by the caller's key.
    pub(crate) key: String,
    pub(crate) digest: String,
}

/// What came of making a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Created {
    /// It is new.
    New(Job),
    /// It was made before, by the same request.
    Same(Job),
    /// Another was made under this key: 409.
    Conflict,
    /// The queue is full: 503.
    Full,
}

/// A worker that looks for a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seeker {
    /// Empty for any.
    pub(crate) kinds: Vec<String>,
    pub(crate) worker_id: String,
    pub(crate) worker_group: String,
    /// What its machine has.
    pub(crate) labels: Vec<String>,
    /// How long its claim holds.
    pub(crate) lease: Millis,
}

impl Seeker {
    /// Whether the job is one for it (jobs contract §4.1).
    pub(crate) fn suits(&self, order: &Order) -> bool {
        let is_for = |wanted: &str, own: &str| wanted.is_empty() || wanted == own;
        (self.kinds.is_empty() || self.kinds.contains(&order.kind))
            && is_for(&order.worker_id, &self.worker_id)
            && is_for(&order.worker_group, &self.worker_group)
            && crate::labels::meet(&self.labels, &order.labels)
    }
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Changed {
    pub(crate) job: Job,
    pub(crate) before: Status,
    pub(crate) outcome: Outcome,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    pub(crate) kind: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) worker_id: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) created_from: Option<Millis>,
    pub(crate) created_to: Option<Millis>,
    /// Jobs older than this place, newest first.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// A part of the list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Job>,
    /// Where the next part begins, if there is one.
    pub(crate) next: Option<i64>,
}

/// How many jobs are how, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) kind: String,
    pub(crate) status: Option<Status>,
    pub(crate) jobs: u64,
    pub(crate) oldest: Millis,
}

/// What time did to jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Swept {
    pub(crate) changed: Vec<Changed>,
    /// Ids that are kept no longer.
    pub(crate) forgotten: Vec<String>,
}

/// How long ended jobs are kept (decision 30).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) done: Millis,
    pub(crate) failed: Millis,
}

/// A change, by whom and to which job.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) change: Change,
    /// For workers: the token they sent, if any.
    pub(crate) worker: Option<Option<String>>,
    /// The key that must own the job, where keys have names.
    pub(crate) owner: Option<String>,
    pub(crate) now: Millis,
}

/// The atomic steps. One engine stands behind them today; another, shared by several
/// servers, can take its place.
pub(crate) trait Store: Send + Sync + 'static {
    /// Makes a job, at most once under a key.
    fn create(&self, job: NewJob) -> BoxFuture<'static, Result<Created, StoreError>>;

    /// Gives the best job that suits, as claimed under `token`.
    fn claim(
        &self,
        seeker: Arc<Seeker>,
        token: String,
        now: Millis,
    ) -> BoxFuture<'static, Result<Option<Job>, StoreError>>;

    /// Changes a job, as [`Job::apply`] allows it.
    fn change(&self, step: Step) -> BoxFuture<'static, Result<Result<Changed, Refused>, StoreError>>;

    /// One job.
    fn get(&self, id: String) -> BoxFuture<'static, Result<Option<Job>, StoreError>>;

    /// How many eligible jobs stand before this one, and it; `None` if it does not wait.
    fn position(&self, id: String) -> BoxFuture<'static, Result<Option<u64>, StoreError>>;

    /// Some of them.
    fn list(&self, filter: Filter) -> BoxFuture<'static, Result<Page, StoreError>>;

    /// How many there are of each kind and status.
    fn depths(&self) -> BoxFuture<'static, Result<Vec<Depth>, StoreError>>;

    /// Does what time does: leases and lives end, ended jobs are forgotten. Works off a
    /// bounded part at a time; call again while something comes of it.
    fn sweep(&self, retention: Retention, now: Millis) -> BoxFuture<'static, Result<Swept, StoreError>>;

    /// At start: workers get `grace` to come back, or their lease if that is shorter, since
    /// leases ran on meanwhile.
    fn resume(&self, grace: Millis, now: Millis) -> BoxFuture<'static, Result<Vec<Job>, StoreError>>;

    /// Those of which something is stored in the spool.
    fn with_objects(&self) -> BoxFuture<'static, Result<Vec<Job>, StoreError>>;

    /// Takes nothing more, and completes what it has taken.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Opens the store in a folder, or one in memory.
pub(crate) fn open(folder: Option<&Path>) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match folder {
        Some(folder) => Arc::new(Engine::durable(folder)?),
        None => Arc::new(Engine::in_memory()?),
    })
}

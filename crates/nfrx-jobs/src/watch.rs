//! Who watches which job.
//!
//! A watcher holds the newest version of its job, not a queue of events: plain statuses that
//! it is too slow for merge into the newest, while channels and the end are part of every
//! later version and can't get lost (KD-90).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::job::Job;

/// The newest version of a job, and how often it was told.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) job: Arc<Job>,
    /// Grows when the same version is told again (jobs contract §3.3).
    pub(crate) told: u64,
    /// The store keeps it no longer.
    pub(crate) forgotten: bool,
}

/// All watchers.
#[derive(Default)]
pub(crate) struct Watchers {
    jobs: Mutex<HashMap<String, watch::Sender<Option<Version>>>>,
}

/// One of them; dropping it is leaving.
pub(crate) struct Watcher {
    watchers: Arc<Watchers>,
    id: String,
    pub(crate) versions: watch::Receiver<Option<Version>>,
}

impl Watchers {
    /// Watches a job from now on; what happened before is for the caller to look up
    /// *afterwards*, so that nothing falls in between (KD-96).
    pub(crate) fn watch(self: &Arc<Self>, id: &str) -> Watcher {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = jobs.entry(id.to_owned()).or_insert_with(|| watch::channel(None).0);
        Watcher { watchers: Arc::clone(self), id: id.to_owned(), versions: sender.subscribe() }
    }

    /// Tells a version, unless a newer one was told.
    pub(crate) fn tell(&self, job: &Arc<Job>) {
        self.send(&job.id, |known| match known {
            Some(version) if version.job.revision > job.revision => None,
            Some(version) => Some(Version { job: Arc::clone(job), told: version.told + 1, forgotten: false }),
            None => Some(Version { job: Arc::clone(job), told: 0, forgotten: false }),
        });
    }

    /// Tells that nothing more will come.
    pub(crate) fn forget(&self, id: &str) {
        self.send(id, |known| known.as_ref().map(|version| Version { forgotten: true, ..version.clone() }));
    }

    fn send(&self, id: &str, next: impl FnOnce(&Option<Version>) -> Option<Version>) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = jobs.get(id) {
            sender.send_if_modified(|version| match next(version) {
                None => false,
                some => {
                    *version = some;
                    true
                }
            });
        }
    }

    /// Whether somebody watches this job.
    pub(crate) fn is_watched(&self, id: &str) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut jobs = self.watchers.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            jobs.remove(&self.id);
        }
    }
}

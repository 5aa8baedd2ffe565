//! Whether clients still look after their jobs (jobs contract §6, KD-98).
//!
//! A clock runs for each live job that nobody watches. Any sign of its client starts it
//! again; a watcher stops it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nfrx_spi::{Clock, Moment};

/// The clocks of all jobs.
pub(crate) struct Presence {
    clock: Arc<dyn Clock>,
    /// `None`: nobody has to look after anything.
    ttl: Option<Duration>,
    clocks: Mutex<Clocks>,
}

#[derive(Default)]
struct Clocks {
    by_job: HashMap<String, Moment>,
    by_time: BTreeSet<(Moment, String)>,
}

impl Clocks {
    fn stop(&mut self, id: &str) -> bool {
        let found = self.by_job.remove(id);
        found.is_some_and(|moment| self.by_time.remove(&(moment, id.to_owned())))
    }
}

impl Presence {
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Option<Duration>) -> Self {
        Self { clock, ttl, clocks: Mutex::default() }
    }

    /// Starts the clock of a job, or starts it again.
    pub(crate) fn start(&self, id: &str) {
        let Some(ttl) = self.ttl else { return };
        let end = self.clock.now() + ttl;
        let mut clocks = self.lock();
        clocks.stop(id);
        clocks.by_job.insert(id.to_owned(), end);
        clocks.by_time.insert((end, id.to_owned()));
    }

    /// Starts it again, if it runs.
    pub(crate) fn touch(&self, id: &str) {
        let runs = self.lock().by_job.contains_key(id);
        if runs {
            self.start(id);
        }
    }

    /// Stops it; nothing happens if it does not run.
    pub(crate) fn stop(&self, id: &str) {
        self.lock().stop(id);
    }

    /// The jobs whose clocks have run out, which stop with it.
    pub(crate) fn take_due(&self) -> Vec<String> {
        let now = self.clock.now();
        let mut clocks = self.lock();
        let mut due = Vec::new();
        while clocks.by_time.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, id)) = clocks.by_time.pop_first() {
                clocks.by_job.remove(&id);
                due.push(id);
            }
        }
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Clocks> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

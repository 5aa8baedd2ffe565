//! A client that looks at a job for as long as it takes.

use std::sync::Arc;

use crate::answer::Failure;
use crate::job::Job;
use crate::metrics::Bound;
use crate::service::Jobs;
use crate::watch::{Version, Watcher};

/// One of those who watch. While it is there the job's client counts as present; dropping
/// it starts the client's clock (jobs contract §6).
pub(super) struct Looking {
    jobs: Arc<Jobs>,
    id: String,
    watcher: Option<Watcher>,
    /// Whether somebody has to look after the job.
    needs_care: bool,
    _counted: Arc<()>,
}

impl Looking {
    /// Begins to watch, and gives the job as it is at this moment.
    pub(super) async fn begin(
        jobs: &Arc<Jobs>,
        id: &str,
        owner: Option<&str>,
    ) -> Result<(Self, Arc<Job>), Failure> {
        if Arc::strong_count(&jobs.watching) > jobs.options.watchers_max {
            jobs.metrics.refuse(Bound::Watchers);
            return Err(Failure::Full("too_many_watchers"));
        }
        let mut looking = Self {
            id: id.to_owned(),
            // First this, then the look at the store: nothing falls in between (KD-96).
            watcher: Some(jobs.watchers.watch(id)),
            needs_care: false,
            _counted: Arc::clone(&jobs.watching),
            jobs: Arc::clone(jobs),
        };
        let job = super::client::find(jobs, id, owner).await?;
        jobs.presence.stop(id);
        looking.note(&job);
        Ok((looking, job))
    }

    /// Remembers how the job is.
    fn note(&mut self, job: &Job) {
        self.needs_care = !job.order.keep && !job.status.is_terminal();
    }

    /// The next version; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<Version> {
        let versions = &mut self.watcher.as_mut()?.versions;
        versions.changed().await.ok()?;
        let version = versions.borrow_and_update().clone().filter(|version| !version.forgotten)?;
        self.note(&version.job);
        Some(version)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.watcher = None;
        if self.needs_care && !self.jobs.watchers.is_watched(&self.id) {
            self.jobs.presence.start(&self.id);
        }
    }
}

//! What is counted of jobs and transfers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nfrx_spi::metrics::{Counter, Family, Gauge, Histogram, SECONDS};
use nfrx_spi::{MetricsError, MetricsRegistry};

use crate::job::{Job, Status};
use crate::store::{Changed, Depth};
use crate::time::Millis;

/// Types that have series of their own; types are clients' text, others share one.
const KINDS_MAX: usize = 64;

/// What refuses requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Queue,
    Waiting,
    Watchers,
    Channels,
    Spool,
}

impl Bound {
    const ALL: [Self; 5] = [Self::Queue, Self::Waiting, Self::Watchers, Self::Channels, Self::Spool];

    fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Waiting => "waiting",
            Self::Watchers => "watchers",
            Self::Channels => "channels",
            Self::Spool => "spool",
        }
    }
}

/// The instruments, and the sums for the state.
pub(crate) struct JobsMetrics {
    created: Arc<Family<Counter, 0>>,
    ended: Arc<Family<Counter, 1>>,
    refused: Arc<Family<Counter, 1>>,
    lease_expiries: Arc<Family<Counter, 0>>,
    redeliveries: Arc<Family<Counter, 0>>,
    jobs: Arc<Family<Gauge, 1>>,
    queue: Arc<Family<Gauge, 1>>,
    oldest: Arc<Family<Gauge, 1>>,
    queue_wait: Arc<Family<Histogram, 0>>,
    store: Arc<Family<Histogram, 1>>,
    pub(crate) transfers: Arc<Family<Counter, 1>>,
    pub(crate) transfer_bytes: Arc<Family<Counter, 0>>,
    pub(crate) channels: Arc<Family<Gauge, 0>>,
    pub(crate) spool_bytes: Arc<Family<Gauge, 0>>,
    pub(crate) sums: Sums,
}

/// Sums over ended jobs since the start.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) canceled: AtomicU64,
    pub(crate) last_completed: AtomicU64,
    pub(crate) last_failed: AtomicU64,
    pub(crate) last_canceled: AtomicU64,
    queue_ms: AtomicU64,
    service_ms: AtomicU64,
    served: AtomicU64,
    whole_ms: AtomicU64,
}

impl Default for JobsMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS);
        Self {
            created: family("nfrx_jobs_created_total", "Jobs made", Counter::default),
            ended: Arc::new(Family::new(
                "nfrx_jobs_ended_total",
                "Jobs that ended, by how",
                ["status"],
                4,
                Counter::default,
            )),
            refused: Arc::new(Family::new(
                "nfrx_jobs_refused_total",
                "Requests refused at a bound, by which",
                ["bound"],
                16,
                Counter::default,
            )),
            lease_expiries: family(
                "nfrx_jobs_lease_expiries_total",
                "Claims whose worker was silent for longer than its lease",
                Counter::default,
            ),
            redeliveries: family(
                "nfrx_jobs_redeliveries_total",
                "Jobs that went back to the queue",
                Counter::default,
            ),
            jobs: Arc::new(Family::new("nfrx_jobs", "Jobs that are kept", ["status"], 9, Gauge::default)),
            queue: Arc::new(Family::new(
                "nfrx_jobs_queue_length",
                "Jobs that wait, by type",
                ["type"],
                KINDS_MAX,
                Gauge::default,
            )),
            oldest: Arc::new(Family::new(
                "nfrx_jobs_queue_oldest_seconds",
                "How long the oldest job of a type waits",
                ["type"],
                KINDS_MAX,
                Gauge::default,
            )),
            queue_wait: family(
                "nfrx_jobs_queue_wait_seconds",
                "From the making of a job to its claim",
                seconds,
            ),
            store: Arc::new(Family::new(
                "nfrx_jobs_store_seconds",
                "How long steps of the store take, commit included",
                ["step"],
                8,
                seconds,
            )),
            transfers: Arc::new(Family::new(
                "nfrx_transfers_total",
                "Channels that ended, by how",
                ["outcome"],
                8,
                Counter::default,
            )),
            transfer_bytes: family("nfrx_transfer_bytes_total", "Bytes passed on", Counter::default),
            channels: family("nfrx_transfer_channels", "Channels that are open", Gauge::default),
            spool_bytes: family(
                "nfrx_jobs_spool_bytes",
                "Bytes of stored payloads and results",
                Gauge::default,
            ),
            sums: Sums::default(),
        }
    }
}

/// Without a label there is one series, which is served from zero on.
fn family<I>(name: &'static str, help: &'static str, new: fn() -> I) -> Arc<Family<I, 0>>
where
    I: nfrx_spi::metrics::Instrument,
{
    let family = Family::new(name, help, [], 1, new);
    drop(family.with([]));
    Arc::new(family)
}

impl JobsMetrics {
    pub(crate) fn refuse(&self, bound: Bound) {
        self.refused.with([bound.label()]).inc();
    }

    pub(crate) fn register(&self, metrics: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        self.refused.begin_at_zero(Bound::ALL.map(|bound| [bound.label()]));
        metrics.register(Arc::clone(&self.created) as _)?;
        metrics.register(Arc::clone(&self.ended) as _)?;
        metrics.register(Arc::clone(&self.refused) as _)?;
        metrics.register(Arc::clone(&self.lease_expiries) as _)?;
        metrics.register(Arc::clone(&self.redeliveries) as _)?;
        metrics.register(Arc::clone(&self.jobs) as _)?;
        metrics.register(Arc::clone(&self.queue) as _)?;
        metrics.register(Arc::clone(&self.oldest) as _)?;
        metrics.register(Arc::clone(&self.queue_wait) as _)?;
        metrics.register(Arc::clone(&self.store) as _)?;
        metrics.register(Arc::clone(&self.transfers) as _)?;
        metrics.register(Arc::clone(&self.transfer_bytes) as _)?;
        metrics.register(Arc::clone(&self.channels) as _)?;
        metrics.register(Arc::clone(&self.spool_bytes) as _)
    }

    /// A job was made.
    pub(crate) fn made(&self) {
        self.created.with([]).inc();
    }

    /// A worker got it.
    pub(crate) fn claimed(&self, job: &Job) {
        if let Some(claim) = &job.claim {
            self.queue_wait.with([]).observe_duration(claim.since.since(job.created_at));
        }
    }

    /// A step of the store took so long.
    pub(crate) fn stored(&self, step: &'static str, span: Duration) {
        self.store.with([step]).observe_duration(span);
    }

    /// A lease ran out.
    pub(crate) fn lease_expired(&self) {
        self.lease_expiries.with([]).inc();
    }

    /// A change was made.
    pub(crate) fn changed(&self, changed: &Changed) {
        let (job, before) = (&changed.job, changed.before);
        if before.is_held() && job.status == Status::Queued {
            self.redeliveries.with([]).inc();
        }
        if !before.is_terminal() && job.status.is_terminal() {
            self.ended.with([job.status.as_str()]).inc();
            self.sums.ended(job);
        }
    }

    /// Sets the gauges.
    pub(crate) fn depths(&self, depths: &[Depth], now: Millis) {
        for status in Status::ALL {
            let of_status = depths.iter().filter(|depth| depth.status == Some(status));
            let jobs: u64 = of_status.map(|depth| depth.jobs).sum();
            self.jobs.with([status.as_str()]).set(jobs.cast_signed());
        }
        let mut waiting: Vec<_> = depths.iter().filter(|d| d.status == Some(Status::Queued)).collect();
        waiting.sort_by_key(|depth| std::cmp::Reverse(depth.jobs));
        waiting.truncate(KINDS_MAX - 1);
        let stays = |kind: &[String; 1]| waiting.iter().any(|depth| depth.kind == kind[0]);
        self.queue.retain(stays);
        self.oldest.retain(stays);
        for depth in waiting {
            self.queue.with([&depth.kind]).set(depth.jobs.cast_signed());
            self.oldest.with([&depth.kind]).set(now.since(depth.oldest).as_secs().cast_signed());
        }
    }
}

impl Sums {
    fn ended(&self, job: &Job) {
        let end = job.finished_at.unwrap_or(job.updated_at);
        let (count, last) = match job.status {
            Status::Completed => (&self.completed, &self.last_completed),
            Status::Failed => (&self.failed, &self.last_failed),
            _ => (&self.canceled, &self.last_canceled),
        };
        count.fetch_add(1, Ordering::Relaxed);
        last.store(end.0, Ordering::Relaxed);
        let add = |sum: &AtomicU64, from: Millis, to: Millis| {
            sum.fetch_add(to.0.saturating_sub(from.0), Ordering::Relaxed);
        };
        let claimed = job.claim.as_ref().map(|claim| claim.since);
        add(&self.queue_ms, job.created_at, claimed.unwrap_or(end));
        add(&self.whole_ms, job.created_at, end);
        if let Some(claimed) = claimed {
            add(&self.service_ms, claimed, end);
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The means in milliseconds: until the claim, from the claim, and both.
    pub(crate) fn means(&self) -> [u64; 3] {
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let ended = read(&self.completed) + read(&self.failed) + read(&self.canceled);
        let mean = |sum: &AtomicU64, count: u64| read(sum).checked_div(count).unwrap_or_default();
        [mean(&self.queue_ms, ended), mean(&self.service_ms, read(&self.served)), mean(&self.whole_ms, ended)]
    }
}

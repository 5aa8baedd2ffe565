//! The plugin's part of the state (jobs contract §7): nothing in it is a client's secret
//! (KD-99), and it is read from memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use nfrx_spi::StateElement;
use serde::Serialize;
use serde_json::Value;

use crate::job::{Job, JobView, Shown, Status};
use crate::service::Jobs;
use crate::store::Depth;
use crate::time::Millis;
use crate::workers::WorkerView;

/// Looks when it is asked.
pub(crate) struct JobsState(pub(crate) Arc<Jobs>);

#[derive(Serialize)]
struct Snapshot {
    summary: Summary,
    workers: Vec<WorkerView>,
    jobs: Vec<JobView>,
}

#[derive(Serialize)]
struct Summary {
    total_jobs: u64,
    queued_jobs: u64,
    claimed_jobs: u64,
    running_jobs: u64,
    awaiting_transfers: u64,
    terminal_jobs: u64,
    active_workers: usize,
    recent_workers: usize,
    streaming_workers: usize,
    waiting_workers: usize,
    completed_jobs: u64,
    failed_jobs: u64,
    canceled_jobs: u64,
    oldest_queued_seconds: u64,
    oldest_inflight_seconds: u64,
    avg_queue_wait_ms: u64,
    avg_service_ms: u64,
    avg_end_to_end_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_canceled_at: Option<String>,
}

impl JobsState {
    fn take(&self) -> Snapshot {
        let jobs = &self.0;
        let now = jobs.now();
        let workers = jobs.workers.views(now);
        let recent = jobs.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let positions = jobs.positions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let view = |job: &Arc<Job>| {
            let mut view = JobView::new(job, Shown::Outline, |_| None);
            view.queue_position = positions.get(&job.id).copied().filter(|_| job.status == Status::Queued);
            view
        };
        Snapshot { summary: self.summary(&workers, now), workers, jobs: recent.iter().map(view).collect() }
    }

    fn summary(&self, workers: &[WorkerView], now: Millis) -> Summary {
        let depths = self.0.depths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = |wanted: &dyn Fn(Status) -> bool| {
            depths.iter().filter(|depth| depth.status.is_some_and(wanted)).map(|depth| depth.jobs).sum()
        };
        let of = |status: Status| count(&|other| other == status);
        let sums = &self.0.metrics.sums;
        let [queue_wait, service, end_to_end] = sums.means();
        Summary {
            total_jobs: depths.iter().map(|depth| depth.jobs).sum(),
            queued_jobs: of(Status::Queued),
            claimed_jobs: of(Status::Claimed),
            running_jobs: of(Status::Running),
            awaiting_transfers: of(Status::AwaitingPayload) + of(Status::AwaitingResult),
            terminal_jobs: count(&Status::is_terminal),
            active_workers: workers.iter().filter(|worker| worker.active).count(),
            recent_workers: workers.len(),
            streaming_workers: workers.iter().filter(|worker| worker.stream_count > 0).count(),
            waiting_workers: self.0.waiting.len(),
            completed_jobs: sums.completed.load(Ordering::Relaxed),
            failed_jobs: sums.failed.load(Ordering::Relaxed),
            canceled_jobs: sums.canceled.load(Ordering::Relaxed),
            oldest_queued_seconds: oldest(&depths, now, &|status| status == Status::Queued),
            oldest_inflight_seconds: oldest(&depths, now, &Status::is_held),
            avg_queue_wait_ms: queue_wait,
            avg_service_ms: service,
            avg_end_to_end_ms: end_to_end,
            last_completed_at: last(&sums.last_completed),
            last_failed_at: last(&sums.last_failed),
            last_canceled_at: last(&sums.last_canceled),
        }
    }
}

fn oldest(depths: &[Depth], now: Millis, wanted: &dyn Fn(Status) -> bool) -> u64 {
    let of = depths.iter().filter(|depth| depth.status.is_some_and(wanted));
    of.map(|depth| now.since(depth.oldest).as_secs()).max().unwrap_or_default()
}

fn last(time: &AtomicU64) -> Option<String> {
    let time = Millis(time.load(Ordering::Relaxed));
    (time != Millis::default()).then(|| time.to_string())
}

impl StateElement for JobsState {
    fn id(&self) -> &'static str {
        crate::plugin::ID
    }

    fn data(&self) -> Value {
        serde_json::to_value(self.take()).unwrap_or_default()
    }

    /// Numbers only: names of workers and jobs are strangers' texts.
    fn html(&self) -> Option<String> {
        let Snapshot { summary, .. } = self.take();
        let cards = [
            ("Active workers", summary.active_workers.to_string()),
            ("Queued", summary.queued_jobs.to_string()),
            ("Oldest queued", format!("{} s", summary.oldest_queued_seconds)),
            ("Running", summary.running_jobs.to_string()),
            ("Awaiting transfer", summary.awaiting_transfers.to_string()),
            ("Completed", summary.completed_jobs.to_string()),
            ("Failed", summary.failed_jobs.to_string()),
            ("Average queue wait", format!("{} ms", summary.avg_queue_wait_ms)),
            ("Average end to end", format!("{} ms", summary.avg_end_to_end_ms)),
        ];
        let card = |(name, value): &(&str, String)| format!("<dt>{name}</dt><dd>{value}</dd>");
        Some(format!("<dl class=\"cards\">{}</dl>", cards.iter().map(card).collect::<String>()))
    }
}

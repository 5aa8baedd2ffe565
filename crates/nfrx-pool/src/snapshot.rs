//! The pool's part of the state API (metrics contract §3.2), with what the contract leaves
//! dead brought to life (KD-27) and statuses derived from what is known (KD-64).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use nfrx_spi::{Moment, StateElement, WorkerRef, WorkerStatus, rfc3339};
use serde_json::{Map, Value, json};

use crate::pool::Pool;
use crate::state::{Entry, State};
use crate::worker::Worker;

impl StateElement for Pool {
    fn id(&self) -> &'static str {
        self.inner.config.plugin
    }

    fn data(&self) -> Value {
        self.snapshot()
    }
}

/// How many of a worker's models its part of the state names.
const MODELS_MAX: usize = 16;

/// A worker as it was under the lock.
struct View {
    worker: Arc<Worker>,
    status: WorkerStatus,
    in_flight: u32,
    capacity: u32,
    waiting: usize,
    models: Vec<Arc<str>>,
    models_total: usize,
}

impl Pool {
    /// The pool as JSON: `server`, `workers_summary`, `models`, `workers`.
    pub fn snapshot(&self) -> Value {
        let (mut views, mut models, queue_len, waiting) = self.inner.read(|state| {
            let views: Vec<View> = state.entries().map(|entry| View::new(state, entry)).collect();
            (views, state.label_counts(), State::queue_len(state), state.waiting_by_label())
        });
        views.sort_by_key(|view| (view.worker.facts.connected_at, view.worker.key().epoch));
        models.sort_unstable();
        let now = (self.inner.config.clock.now(), self.inner.config.clock.wall());
        json!({
            "server": self.server(&views, queue_len, now),
            "workers_summary": summary(&views),
            "models": self.models(&models, &waiting),
            "workers": views.iter().map(|view| view.json(now)).collect::<Vec<_>>(),
        })
    }

    fn models(&self, models: &[(Arc<str>, usize)], waiting: &HashMap<Arc<str>, usize>) -> Vec<Value> {
        let totals = self.inner.config.metrics.totals(self.inner.config.plugin);
        let model = |(name, workers): &(Arc<str>, usize)| {
            let of = totals.get(&**name).copied().unwrap_or_default();
            json!({
                "name": **name,
                "workers": workers,
                "waiting": waiting.get(name).copied().unwrap_or(0),
                "inflight": of.in_flight,
                "requests_total": of.requests,
                "succeeded_total": of.succeeded,
                "output_tokens_total": of.tokens_out,
            })
        };
        models.iter().map(model).collect()
    }

    fn server(&self, views: &[View], queue_len: usize, now: (Moment, SystemTime)) -> Value {
        let inner = &self.inner;
        let (build, totals) = (&inner.config.build, &inner.totals);
        let mut server = json!({
            "now": rfc3339(now.1),
            "version": build.version,
            "state": inner.status().as_str(),
            "uptime_s": now.0.since(inner.started).as_secs(),
            "jobs_inflight_total": views.iter().map(|view| u64::from(view.in_flight)).sum::<u64>(),
            "jobs_completed_total": totals.completed.load(Ordering::Relaxed),
            "jobs_failed_total": totals.failed.load(Ordering::Relaxed),
            "jobs_canceled_total": totals.canceled.load(Ordering::Relaxed),
            "scheduler_queue_len": queue_len,
            "scheduler_queue_capacity": inner.config.queue_max,
        });
        add_texts(&mut server, [("build_sha", build.sha), ("build_date", build.date)]);
        server
    }
}

impl View {
    fn new(state: &State, entry: &Entry) -> Self {
        let (models, models_total) = state.first_labels_of(entry, MODELS_MAX);
        Self {
            waiting: state.waiting_for(entry.worker.id()),
            models,
            models_total,
            worker: Arc::clone(&entry.worker),
            status: entry.status(),
            in_flight: entry.in_flight,
            capacity: entry.capacity,
        }
    }

    fn json(&self, (now, wall): (Moment, SystemTime)) -> Value {
        let (worker, tally, facts) = (&self.worker, &self.worker.tally, &self.worker.facts);
        let processed = tally.processed.load(Ordering::Relaxed);
        let processing_ms = tally.processing_ms.load(Ordering::Relaxed);
        let average = if processed == 0 { 0.0 } else { processing_ms as f64 / processed as f64 };
        let error = worker.last_error();
        let ago = |moment| wall.checked_sub(now.since(moment)).unwrap_or(wall);
        let mut json = json!({
            "id": worker.id(),
            "name": worker.name(),
            "version": facts.version,
            "host_info": host_info(worker),
            "input_tokens_total": tally.tokens_in.load(Ordering::Relaxed),
            "output_tokens_total": tally.tokens_out.load(Ordering::Relaxed),
            "status": self.status,
            "connected_at": rfc3339(facts.connected_at),
            "last_heartbeat": rfc3339(ago(worker.last_heartbeat())),
            "max_concurrency": self.capacity,
            "embedding_batch_size": worker.preferred_batch_size(),
            "processed_total": processed,
            "processing_ms_total": processing_ms,
            "avg_processing_ms": average,
            "inflight": self.in_flight,
            "failures_total": tally.failures.load(Ordering::Relaxed),
            "queue_len": self.waiting,
            "last_error": error.map_or("", |error| error.code),
            "models": self.models.iter().map(|name| &**name).collect::<Vec<_>>(),
            "models_total": self.models_total,
            "output_tokens_live_total": tally.tokens_live.load(Ordering::Relaxed),
            "carrier": worker.tunnel().carrier(),
            "draining": self.status == WorkerStatus::Draining,
        });
        add_texts(&mut json, [("build_sha", facts.build_sha.as_str()), ("build_date", &facts.build_date)]);
        let (cpu, ram) = worker.load();
        for (key, percent) in [("host_cpu_percent", cpu), ("host_ram_used_percent", ram)] {
            if percent != 0.0 {
                json[key] = percent.into();
            }
        }
        if let Some(error) = error {
            json["last_error_at"] = rfc3339(ago(error.at)).into();
        }
        if let Some((median, slowest)) = tally.first_bytes.percentiles() {
            json["ttft_p50_ms"] = median.into();
            json["ttft_p95_ms"] = slowest.into();
        }
        if let Some(round_trip) = worker.tunnel().round_trip() {
            json["round_trip_ms"] = (round_trip.as_micros() as f64 / 1000.0).into();
        }
        json
    }
}

impl Entry {
    /// How the worker is, from what the pool knows rather than from what the agent says.
    pub(crate) fn status(&self) -> WorkerStatus {
        if self.held || self.draining {
            WorkerStatus::Draining
        } else if !self.open {
            WorkerStatus::Connected
        } else if self.lost || self.capacity == 0 {
            WorkerStatus::NotReady
        } else if self.in_flight > 0 {
            WorkerStatus::Working
        } else {
            WorkerStatus::Idle
        }
    }
}

fn summary(views: &[View]) -> Value {
    let count = |status| views.iter().filter(|view| view.status == status).count();
    json!({
        "connected": count(WorkerStatus::Connected),
        "working": count(WorkerStatus::Working),
        "idle": count(WorkerStatus::Idle),
        "not_ready": count(WorkerStatus::NotReady),
        "gone": 0,
    })
}

fn host_info(worker: &Worker) -> Value {
    let mut info = Value::Object(Map::new());
    for key in ["hostname", "os_name", "os_version", "backend_version", "backend_family"] {
        add_texts(&mut info, [(key, worker.config(key).as_str())]);
    }
    add_texts(&mut info, [("worker_version", worker.facts.version.as_str())]);
    info
}

/// Adds texts that are not empty.
fn add_texts<const N: usize>(object: &mut Value, texts: [(&str, &str); N]) {
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        object[key] = text.into();
    }
}

#[cfg(test)]
mod tests;

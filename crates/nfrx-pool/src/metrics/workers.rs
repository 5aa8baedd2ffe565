//! How the workers of all pools are, read when somebody asks.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nfrx_spi::metrics::{MetricFamily, MetricKind, Sample, SampleValue};
use nfrx_spi::{WorkerRef, WorkerStatus};

use crate::pool::Inner;
use crate::state::Entry;

/// In this order, each served also when no worker is so.
const STATUSES: [(WorkerStatus, &str); 5] = [
    (WorkerStatus::Connected, "connected"),
    (WorkerStatus::Working, "working"),
    (WorkerStatus::Idle, "idle"),
    (WorkerStatus::NotReady, "not_ready"),
    (WorkerStatus::Draining, "draining"),
];

/// The pools that move the same metrics. They end with their plugins.
#[derive(Default)]
pub(super) struct Pools(Mutex<Vec<Weak<Inner>>>);

/// How the workers of one pool are.
struct Reading {
    ext: &'static str,
    counts: [usize; STATUSES.len()],
    silence: Duration,
    round_trip: Duration,
}

impl Pools {
    pub(super) fn add(&self, pool: &Arc<Inner>) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let pools: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let readings: Vec<_> =
            pools.iter().filter_map(Weak::upgrade).map(|pool| Reading::of(&pool)).collect();
        let by_status = readings.iter().flat_map(|reading| {
            STATUSES.iter().zip(reading.counts).map(|((_, status), count)| {
                let labels = vec![("ext", reading.ext.to_owned()), ("status", (*status).to_owned())];
                Sample { labels, value: SampleValue::Number(count as f64) }
            })
        });
        let longest = |of: fn(&Reading) -> Duration| {
            let sample = |reading: &Reading| Sample {
                labels: vec![("ext", reading.ext.to_owned())],
                value: SampleValue::Number(of(reading).as_secs_f64()),
            };
            readings.iter().map(sample).collect()
        };
        vec![
            gauge("nfrx_workers", "Connected workers by how they are.", by_status.collect()),
            gauge(
                "nfrx_worker_silence_seconds_max",
                "Since the worker that is silent for longest was heard.",
                longest(|reading| reading.silence),
            ),
            gauge(
                "nfrx_worker_round_trip_seconds_max",
                "The longest round trip to a worker, as measured last.",
                longest(|reading| reading.round_trip),
            ),
        ]
    }
}

impl Reading {
    fn of(pool: &Inner) -> Self {
        let entries: Vec<_> = pool.read(|state| {
            state.entries().map(|entry| (Arc::clone(&entry.worker), Entry::status(entry))).collect()
        });
        let now = pool.config.clock.now();
        let mut reading = Self {
            ext: pool.config.plugin,
            counts: [0; STATUSES.len()],
            silence: Duration::ZERO,
            round_trip: Duration::ZERO,
        };
        for (worker, status) in entries {
            for (nth, (of, _)) in STATUSES.iter().enumerate() {
                reading.counts[nth] += usize::from(*of == status);
            }
            reading.silence = reading.silence.max(now.since(worker.last_heartbeat()));
            reading.round_trip = reading.round_trip.max(worker.tunnel().round_trip().unwrap_or_default());
        }
        reading
    }
}

fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> MetricFamily {
    MetricFamily { name, help, kind: MetricKind::Gauge, samples }
}

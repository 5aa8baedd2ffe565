//! The request series of all pools of a process (metrics contract §1), each moving as its
//! name says (KD-30).
//!
//! Metric labels are bounded: a model is one only while a worker offers it, else it is
//! `unknown`; error codes come from a closed set.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use nfrx_spi::metrics::{Counter, Family, Gauge, Histogram, Instrument, MetricFamily, SECONDS, Sample};
use nfrx_spi::{Collector, MetricsError, MetricsRegistry};

use crate::pool::Inner;

mod tally;
mod workers;

pub use tally::{RequestKind, RequestTally};

/// How many label sets a family keeps.
const SERIES_MAX: usize = 4096;

/// Upper bounds for the time between two pieces: tokens come every few milliseconds.
const CHUNK_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The labels that every request series has.
const R: [&str; 4] = ["ext", "plugin_type", "job_type", "label"];

/// What is counted of what requests used: the label `size_kind`.
const SIZE_KINDS: [&str; 4] = ["tokens_in", "tokens_out", "tokens_total", "embeddings"];

/// Why a request was not given to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoWorker,
    QueueFull,
    WaitedTooLong,
}

impl Refusal {
    const ALL: [Self; 3] = [Self::NoWorker, Self::QueueFull, Self::WaitedTooLong];

    fn label(self) -> &'static str {
        match self {
            Self::NoWorker => "no_worker",
            Self::QueueFull => "queue_full",
            Self::WaitedTooLong => "waited_too_long",
        }
    }
}

/// The request series. One for all pools of a process: families with one name are one.
pub struct RequestMetrics {
    requests: Family<Counter, 4>,
    started: Family<Counter, 4>,
    completed: Family<Counter, 6>,
    duration: Family<Histogram, 4>,
    in_flight: Family<Gauge, 4>,
    size: Family<Counter, 5>,
    queue_wait: Family<Histogram, 4>,
    first_byte: Family<Histogram, 4>,
    per_chunk: Family<Histogram, 4>,
    queue_length: Family<Gauge, 1>,
    queue_refused: Family<Counter, 2>,
    retries: Family<Counter, 2>,
    chunks: Family<Counter, 7>,
    chunk_duration: Family<Histogram, 5>,
    chunk_size: Family<Counter, 6>,
    agent_jobs: AgentJobs,
    pools: workers::Pools,
    /// The instruments of one label set together, so that a request looks up once.
    known: RwLock<HashMap<(&'static str, &'static str), ByLabel>>,
}

/// The instruments of one plugin and kind of job.
type ByLabel = HashMap<String, Arc<Series>>;

/// The instruments of one set of the labels `R`.
pub(crate) struct Series {
    labels: [String; 4],
    requests: Arc<Counter>,
    started: Arc<Counter>,
    succeeded: Arc<Counter>,
    duration: Arc<Histogram>,
    in_flight: Arc<Gauge>,
    tokens_out: Arc<Counter>,
    /// In the order of [`SIZE_KINDS`], each from the first that was counted.
    sizes: [OnceLock<Arc<Counter>>; SIZE_KINDS.len()],
    pub(crate) queue_wait: Arc<Histogram>,
    pub(crate) first_byte: Arc<Histogram>,
    pub(crate) per_chunk: Arc<Histogram>,
}

/// What the state shows of a label.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LabelTotals {
    pub(crate) in_flight: u64,
    pub(crate) requests: u64,
    pub(crate) succeeded: u64,
    pub(crate) tokens_out: u64,
}

/// What a request used, as far as its observer could tell; zero for unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Inputs embedded.
    pub embeddings: u64,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS);
        let with = |name, help, labels| Family::new(name, help, labels, SERIES_MAX, Counter::default);
        let times = |name, help| Family::new(name, help, R, SERIES_MAX, seconds);
        let [ext, plugin_type, job_type, label] = R;
        Self {
            requests: with("nfrx_request_total", "Requests accepted.", R),
            started: with("nfrx_request_started_total", "Requests given to a worker.", R),
            completed: Family::new(
                "nfrx_request_completed_total",
                "Started requests that ended; successful below status 400 and with a whole answer.",
                [ext, plugin_type, job_type, label, "success", "error_code"],
                SERIES_MAX,
                Counter::default,
            ),
            duration: times("nfrx_request_duration_seconds", "From acceptance to the answer's end."),
            in_flight: Family::new(
                "nfrx_request_inflight",
                "Started requests that have not ended.",
                R,
                SERIES_MAX,
                Gauge::default,
            ),
            size: Family::new(
                "nfrx_request_size_total",
                "Tokens or embeddings of ended requests.",
                [ext, plugin_type, job_type, label, "size_kind"],
                SERIES_MAX,
                Counter::default,
            ),
            queue_wait: times("nfrx_queue_wait_seconds", "Time in the queue of requests that had to wait."),
            first_byte: times(
                "nfrx_time_to_first_byte_seconds",
                "From acceptance to the first byte of the answer's body.",
            ),
            per_chunk: Family::new(
                "nfrx_time_per_output_chunk_seconds",
                "Mean time between two pieces of a streamed answer, one value an answer.",
                R,
                SERIES_MAX,
                || Histogram::new(CHUNK_SECONDS),
            ),
            queue_length: Family::new(
                "nfrx_queue_length",
                "Requests in the queue.",
                [ext],
                64,
                Gauge::default,
            ),
            queue_refused: Family::new(
                "nfrx_queue_refused_total",
                "Requests that got no slot.",
                [ext, "reason"],
                256,
                Counter::default,
            ),
            retries: Family::new(
                "nfrx_retries_total",
                "Requests sent to another worker after a failure.",
                [ext, "reason"],
                256,
                Counter::default,
            ),
            chunks: Family::new(
                "nfrx_request_chunk_completed_total",
                "Parts of split requests that ended at a worker.",
                [ext, plugin_type, job_type, label, "worker_id", "success", "error_code"],
                SERIES_MAX,
                Counter::default,
            ),
            chunk_duration: Family::new(
                "nfrx_request_chunk_duration_seconds",
                "Time that a part of a split request was with its worker.",
                [ext, plugin_type, job_type, label, "worker_id"],
                SERIES_MAX,
                seconds,
            ),
            chunk_size: Family::new(
                "nfrx_request_chunk_size_total",
                "Elements of parts of split requests, failed ones too.",
                [ext, plugin_type, job_type, label, "worker_id", "size_kind"],
                SERIES_MAX,
                Counter::default,
            ),
            agent_jobs: AgentJobs::default(),
            pools: workers::Pools::default(),
            known: RwLock::default(),
        }
    }
}

impl RequestMetrics {
    /// Adds the series to the server's registry, unless another pool did so.
    pub fn register(self: &Arc<Self>, registry: &mut dyn MetricsRegistry) -> Result<(), MetricsError> {
        registry.register(Arc::clone(self) as Arc<dyn Collector>)
    }

    /// The workers of this pool are counted from now on.
    pub(crate) fn watch(&self, pool: &Arc<Inner>) {
        self.pools.add(pool);
        self.queue_refused.begin_at_zero(Refusal::ALL.map(|why| [pool.config.plugin, why.label()]));
    }

    pub(crate) fn queue_length(&self, ext: &'static str) -> Arc<Gauge> {
        self.queue_length.with([ext])
    }

    pub(crate) fn refused(&self, ext: &'static str, why: Refusal) {
        self.queue_refused.with([ext, why.label()]).inc();
    }

    pub(crate) fn retried(&self, ext: &'static str, reason: &'static str) {
        self.retries.with([ext, reason]).inc();
    }

    /// The instruments for requests of a pool, of one kind and label.
    pub(crate) fn series(&self, ext: &'static str, job_type: &'static str, label: &str) -> Arc<Series> {
        self.series_of(RequestKind { ext, plugin_type: "worker", job_type }, label)
    }

    fn series_of(&self, kind: RequestKind, label: &str) -> Arc<Series> {
        let RequestKind { ext, job_type, .. } = kind;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&(ext, job_type)).and_then(|labels| labels.get(label)) {
            return Arc::clone(series);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let labels = known.entry((ext, job_type)).or_default();
        let label = if labels.len() < SERIES_MAX { label } else { "other" };
        let made = labels.entry(label.to_owned()).or_insert_with(|| Arc::new(self.make(kind, label)));
        Arc::clone(made)
    }

    /// What runs and what has ended of each label of a plugin, over all kinds of jobs.
    pub(crate) fn totals(&self, ext: &str) -> HashMap<String, LabelTotals> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut totals: HashMap<String, LabelTotals> = HashMap::new();
        for series in known.iter().filter(|((of, _), _)| *of == ext).flat_map(|(_, labels)| labels.values()) {
            let of = totals.entry(series.label().to_owned()).or_default();
            of.in_flight += u64::try_from(series.in_flight.get()).unwrap_or(0);
            of.requests += series.requests.get();
            of.succeeded += series.succeeded.get();
            of.tokens_out += series.tokens_out.get();
        }
        totals
    }

    fn make(&self, RequestKind { ext, plugin_type, job_type }: RequestKind, label: &str) -> Series {
        let r = [ext, plugin_type, job_type, label];
        Series {
            labels: r.map(str::to_owned),
            requests: self.requests.with(r),
            started: self.started.with(r),
            succeeded: self.completed.with([ext, plugin_type, job_type, label, "true", ""]),
            duration: self.duration.with(r),
            in_flight: self.in_flight.with(r),
            tokens_out: Arc::default(),
            sizes: Default::default(),
            queue_wait: self.queue_wait.with(r),
            first_byte: self.first_byte.with(r),
            per_chunk: self.per_chunk.with(r),
        }
    }

    /// A part of a split request ended. `error` is a code of the closed set, empty for
    /// success.
    pub(crate) fn chunk_ended(
        &self,
        series: &Series,
        worker_id: &str,
        elements: u64,
        took: Duration,
        error: &'static str,
    ) {
        let [ext, plugin_type, job_type, label] = series.labels.each_ref().map(String::as_str);
        let success = if error.is_empty() { "true" } else { "false" };
        self.chunks.with([ext, plugin_type, job_type, label, worker_id, success, error]).inc();
        self.chunk_duration.with([ext, plugin_type, job_type, label, worker_id]).observe_duration(took);
        self.chunk_size.with([ext, plugin_type, job_type, label, worker_id, "embeddings"]).add(elements);
    }

    /// A request was given to a worker.
    pub(crate) fn started(&self, series: &Series) {
        series.started();
        self.agent_jobs.total.inc();
        self.agent_jobs.in_flight.add(1);
    }

    /// A started request ended. `error` is a code of the closed set, empty for success.
    pub(crate) fn ended(&self, series: &Series, took: Duration, error: &'static str, usage: Usage) {
        series.in_flight.add(-1);
        self.agent_jobs.in_flight.add(-1);
        if !error.is_empty() {
            self.agent_jobs.failed.inc();
        }
        series.duration.observe_duration(took);
        series.tokens_out.add(usage.tokens_out);
        let [ext, plugin_type, job_type, label] = series.labels.each_ref().map(String::as_str);
        if error.is_empty() {
            series.succeeded.inc();
        } else {
            self.completed.with([ext, plugin_type, job_type, label, "false", error]).inc();
        }
        // Metrics contract §1: the total only when something was written.
        let total = if usage.tokens_out > 0 { usage.tokens_in + usage.tokens_out } else { 0 };
        let sizes = [usage.tokens_in, usage.tokens_out, total, usage.embeddings];
        for ((kind, known), count) in SIZE_KINDS.into_iter().zip(&series.sizes).zip(sizes) {
            if count > 0 {
                let labels = [ext, plugin_type, job_type, label, kind];
                known.get_or_init(|| self.size.with(labels)).add(count);
            }
        }
    }
}

/// What agents have to do, over all plugins: these three have no labels.
#[derive(Default)]
struct AgentJobs {
    in_flight: Gauge,
    total: Counter,
    failed: Counter,
}

impl Collector for AgentJobs {
    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            plain("nfrx_agent_jobs_inflight", "Requests that are with agents.", &self.in_flight),
            plain("nfrx_agent_jobs_total", "Requests given to agents.", &self.total),
            plain("nfrx_agent_jobs_failed_total", "Requests given to agents that failed.", &self.failed),
        ]
    }
}

fn plain<I: Instrument>(name: &'static str, help: &'static str, instrument: &I) -> MetricFamily {
    let samples = vec![Sample { labels: Vec::new(), value: instrument.value() }];
    MetricFamily { name, help, kind: I::KIND, samples }
}

impl Series {
    /// The metric label `label`.
    pub(crate) fn label(&self) -> &str {
        &self.labels[3]
    }

    pub(crate) fn accepted(&self) {
        self.requests.inc();
    }

    fn started(&self) {
        self.started.inc();
        self.in_flight.add(1);
    }
}

impl Collector for RequestMetrics {
    fn collect(&self) -> Vec<MetricFamily> {
        let families: [&dyn Collector; 16] = [
            &self.requests,
            &self.started,
            &self.completed,
            &self.duration,
            &self.in_flight,
            &self.size,
            &self.queue_wait,
            &self.first_byte,
            &self.per_chunk,
            &self.queue_length,
            &self.queue_refused,
            &self.retries,
            &self.chunks,
            &self.chunk_duration,
            &self.chunk_size,
            &self.agent_jobs,
        ];
        families.iter().flat_map(|family| family.collect()).chain(self.pools.collect()).collect()
    }
}

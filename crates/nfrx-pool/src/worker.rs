//! A connected worker: the handle that requests hold, and what is counted of it.

mod first_bytes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use nfrx_spi::{Body, BoxFuture, CallError, Heartbeat, Moment, Registration, Tunnel, WorkerRef};

use crate::state::WorkerKey;
use crate::sync::Mutex;
use first_bytes::FirstBytes;

/// How long a string from an agent may be, in characters.
const TEXT_MAX: usize = 256;
/// How many entries of its configuration are kept.
const CONFIG_MAX: usize = 32;
/// How many labels one worker may offer.
const LABELS_MAX: usize = 4096;

/// One connection of one worker.
pub struct Worker {
    key: WorkerKey,
    id: Arc<str>,
    name: Arc<str>,
    tunnel: Arc<dyn Tunnel>,
    in_flight: AtomicU32,
    pub(crate) facts: Facts,
    pub(crate) tally: Tally,
    details: Mutex<Details>,
}

/// What stays as it was at registration.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: String,
    pub(crate) build_sha: String,
    pub(crate) build_date: String,
    /// When this id was first seen in the chain of take-overs that leads here.
    pub(crate) connected_at: SystemTime,
    /// The name of the key its agent used.
    pub(crate) key_name: Option<Arc<str>>,
    /// Lets a later connection take the id over; empty for "nobody may".
    pub(crate) resume: String,
}

/// What is counted of a worker since it connected.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) processed: AtomicU64,
    pub(crate) processing_ms: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) tokens_in: AtomicU64,
    pub(crate) tokens_out: AtomicU64,
    /// Tokens as they are written: running answers by their pieces, ended ones by what
    /// they said they used if that is more. Never falls.
    pub(crate) tokens_live: AtomicU64,
    pub(crate) first_bytes: FirstBytes,
    cpu_percent: AtomicU64,
    ram_percent: AtomicU64,
}

#[derive(Debug, Default)]
struct Details {
    config: BTreeMap<String, String>,
    last_error: Option<LastError>,
}

/// The latest failure of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastError {
    /// A code of the closed set of the metrics.
    pub(crate) code: &'static str,
    /// When it happened.
    pub(crate) at: Moment,
}

impl Worker {
    pub(crate) fn new(
        key: WorkerKey,
        id: Arc<str>,
        registration: Registration,
        tunnel: Arc<dyn Tunnel>,
        facts: Facts,
    ) -> Self {
        let name = match cut(&registration.worker_name) {
            "" => id.chars().take(8).collect::<String>(),
            name => name.to_owned(),
        };
        let worker = Self {
            key,
            id,
            name: Arc::from(name),
            tunnel,
            in_flight: AtomicU32::new(0),
            facts,
            tally: Tally::default(),
            details: Mutex::default(),
        };
        worker.merge_config(&registration.agent_config);
        worker
    }

    pub(crate) fn key(&self) -> WorkerKey {
        self.key
    }

    pub(crate) fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn tunnel(&self) -> &Arc<dyn Tunnel> {
        &self.tunnel
    }

    pub(crate) fn set_in_flight(&self, count: u32) {
        self.in_flight.store(count, Ordering::Relaxed);
    }

    /// Only keys present and not empty change anything (worker protocol §3.3).
    pub(crate) fn merge_config(&self, config: &BTreeMap<String, String>) {
        let mut details = self.details.lock();
        for (key, value) in config.iter().filter(|(_, value)| !value.is_empty()) {
            if details.config.len() < CONFIG_MAX || details.config.contains_key(key) {
                details.config.insert(cut(key).to_owned(), cut(value).to_owned());
            }
        }
    }

    /// A fact from its configuration; empty for none.
    pub(crate) fn config(&self, key: &str) -> String {
        self.details.lock().config.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn note_heartbeat(&self, heartbeat: Heartbeat) {
        self.tally.cpu_percent.store(heartbeat.host_cpu_percent.to_bits(), Ordering::Relaxed);
        self.tally.ram_percent.store(heartbeat.host_ram_used_percent.to_bits(), Ordering::Relaxed);
    }

    /// The host's CPU and memory in percent; 0 when unknown.
    pub(crate) fn load(&self) -> (f64, f64) {
        let read = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        (read(&self.tally.cpu_percent), read(&self.tally.ram_percent))
    }

    /// Counts a request that ended here. `error` is empty for success, `None` when its
    /// client left, which says nothing about the worker.
    pub(crate) fn note_end(&self, now: Moment, took: Duration, error: Option<&'static str>) {
        self.tally.processed.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.tally.processing_ms.fetch_add(millis, Ordering::Relaxed);
        if let Some(code) = error.filter(|error| !error.is_empty()) {
            self.tally.failures.fetch_add(1, Ordering::Relaxed);
            self.details.lock().last_error = Some(LastError { code, at: now });
        }
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.details.lock().last_error
    }
}

impl WorkerRef for Worker {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn last_heartbeat(&self) -> Moment {
        self.tunnel.last_seen()
    }

    fn preferred_batch_size(&self) -> u32 {
        self.config("embedding_batch_size").trim().parse().unwrap_or(0)
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        self.tunnel.call(request)
    }
}

/// The part of a text from an agent that is kept.
pub(crate) fn cut(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| &text[..end])
}

/// The labels of an agent that are kept.
pub(crate) fn cut_labels(labels: &[String], allowed: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
    let kept = labels.iter().map(|label| cut(label)).filter(|label| !label.is_empty() && allowed(label));
    kept.take(LABELS_MAX).map(Arc::from).collect()
}

//! Who has asked for jobs lately, for the state (jobs contract §7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::store::Seeker;
use crate::time::Millis;

/// Who was seen within this time is active.
const ACTIVE: Duration = Duration::from_secs(60);
/// A worker is remembered so long after its last sign.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The most that are remembered: names are anybody's text.
const WORKERS_MAX: usize = 10_000;

/// All that are remembered, by key.
#[derive(Default)]
pub(crate) struct Workers {
    known: Mutex<BTreeMap<String, Record>>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    worker_id: String,
    worker_group: String,
    seen: Millis,
    claimed: Option<(Millis, &'static str, String)>,
    kinds: Vec<String>,
    streams: usize,
}

/// A worker as the state shows it.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerView {
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    worker_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    worker_group: String,
    last_seen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_claim_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_claim_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_job_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) stream_count: usize,
    pub(crate) active: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes members by reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An open stream of a worker; dropping it is its end.
pub(crate) struct OpenStream {
    workers: Arc<Workers>,
    key: Option<String>,
}

impl Workers {
    /// Somebody looks for a job.
    pub(crate) fn seen(&self, seeker: &Seeker, now: Millis) {
        self.with(seeker, |record| {
            record.seen = now;
            if !seeker.kinds.is_empty() {
                record.kinds.clone_from(&seeker.kinds);
            }
        });
    }

    /// It got one.
    pub(crate) fn claimed(&self, seeker: &Seeker, mode: &'static str, job: &str, now: Millis) {
        self.with(seeker, |record| {
            record.seen = now;
            record.claimed = Some((now, mode, job.to_owned()));
        });
    }

    /// It holds a stream open.
    pub(crate) fn stream(self: &Arc<Self>, seeker: &Seeker, now: Millis) -> OpenStream {
        self.seen(seeker, now);
        self.with(seeker, |record| record.streams += 1);
        OpenStream { workers: Arc::clone(self), key: key(seeker) }
    }

    /// Forgets who has not been seen for long.
    pub(crate) fn sweep(&self, now: Millis) {
        self.lock().retain(|_, record| record.streams > 0 || now.since(record.seen) < REMEMBERED);
    }

    /// All of them, by key.
    pub(crate) fn views(&self, now: Millis) -> Vec<WorkerView> {
        let view = |(key, record): (&String, &Record)| WorkerView {
            key: key.clone(),
            worker_id: record.worker_id.clone(),
            worker_group: record.worker_group.clone(),
            last_seen_at: record.seen.to_string(),
            last_claim_at: record.claimed.as_ref().map(|(at, _, _)| at.to_string()),
            last_claim_mode: record.claimed.as_ref().map(|(_, mode, _)| *mode),
            last_job_id: record.claimed.as_ref().map(|(_, _, job)| job.clone()),
            types: record.kinds.clone(),
            stream_count: record.streams,
            active: record.streams > 0 || now.since(record.seen) < ACTIVE,
        };
        self.lock().iter().map(view).collect()
    }

    fn with(&self, seeker: &Seeker, change: impl FnOnce(&mut Record)) {
        let Some(key) = key(seeker) else { return };
        let mut known = self.lock();
        if known.len() >= WORKERS_MAX && !known.contains_key(&key) {
            return;
        }
        let record = known.entry(key).or_insert_with(|| Record {
            worker_id: seeker.worker_id.clone(),
            worker_group: seeker.worker_group.clone(),
            ..Record::default()
        });
        change(record);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Record>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who names neither itself nor a group leaves no record.
fn key(seeker: &Seeker) -> Option<String> {
    let has_name = !seeker.worker_id.is_empty() || !seeker.worker_group.is_empty();
    has_name.then(|| format!("{}::{}", seeker.worker_id, seeker.worker_group))
}

impl OpenStream {
    /// It is still there.
    pub(crate) fn seen(&self, now: Millis) {
        let mut known = self.workers.lock();
        if let Some(record) = self.key.as_ref().and_then(|key| known.get_mut(key)) {
            record.seen = now;
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut known = self.workers.lock();
        if let Some(record) = self.key.as_ref().and_then(|key| known.get_mut(key)) {
            record.streams = record.streams.saturating_sub(1);
        }
    }
}

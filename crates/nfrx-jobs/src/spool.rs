//! Payloads and results on disk, for clients that leave (decision 30).
//!
//! Each object is a file of its own, written under a name for the unfinished, flushed, renamed
//! and flushed with its folder; only then does the job's record name it, with its length and
//! digest. So a record never names half an object, and a file that no record names is nobody's
//! and is removed at the start. All objects together are bounded.

mod reading;
mod writing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::job::{Job, Side};
use crate::metrics::{Bound, JobsMetrics};
use crate::time::Millis;

pub(crate) use reading::Part;
pub(crate) use writing::Incoming;

/// What unfinished files are called.
const UNFINISHED: &str = "part";

/// A stored payload or result, as its job's record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// The file's name: random, so that nothing of a client's is in it.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    /// Of the whole, in hexadecimal.
    pub(crate) sha256: String,
    /// What its writer said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    pub(crate) stored_at: Millis,
}

/// Why an object is not kept, or not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// 507: there is no room.
    #[error("all stored payloads and results together have reached {bytes_max} bytes")]
    Full {
        /// The bound.
        bytes_max: u64,
    },
    /// The file system failed.
    #[error("a stored payload or result failed: {0}")]
    Io(#[from] io::Error),
}

/// The place of all objects. Clones are one.
#[derive(Clone)]
pub(crate) struct Spool(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    /// Removed with this value: there is no store whose jobs would name its files later.
    _passing: Option<tempfile::TempDir>,
    bytes_max: u64,
    used: AtomicU64,
    /// What was there at the start: nobody's, until a record names it.
    found: Mutex<HashSet<String>>,
    index: Mutex<Index>,
    metrics: Arc<JobsMetrics>,
}

/// The files of jobs, and when they are too old.
#[derive(Default)]
struct Index {
    by_job: HashMap<String, HashMap<String, (u64, Millis)>>,
    by_time: BTreeMap<(Millis, String), String>,
}

/// An object that has been kept long enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Old {
    pub(crate) job: String,
    pub(crate) file: String,
}

impl Spool {
    /// In a folder, or in a passing one of the system's.
    pub(crate) fn open(folder: Option<&Path>, bytes_max: u64, metrics: Arc<JobsMetrics>) -> io::Result<Self> {
        let (folder, passing) = match folder {
            Some(folder) => (folder.to_owned(), None),
            None => {
                let passing = tempfile::Builder::new().prefix("nfrx-jobs-").tempdir()?;
                (passing.path().to_owned(), Some(passing))
            }
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let mut found = HashSet::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                std::fs::remove_file(path)?;
            } else if let Ok(name) = entry.file_name().into_string() {
                found.insert(name);
            }
        }
        let inner = Inner {
            folder,
            _passing: passing,
            bytes_max,
            used: AtomicU64::new(0),
            found: Mutex::new(found),
            index: Mutex::default(),
            metrics,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Takes in what the records at the start name, and removes what none of them does. Gives
    /// the objects whose file is missing or has another length.
    pub(crate) async fn adopt(&self, jobs: &[Job]) -> Vec<Old> {
        let mut orphans = std::mem::take(&mut *lock(&self.0.found));
        let mut lost = Vec::new();
        for job in jobs {
            for (_, _, object) in job.objects() {
                let length = tokio::fs::metadata(self.path(&object.file)).await.map(|file| file.len()).ok();
                let was_there = orphans.remove(&object.file);
                // One that came since the start is counted already.
                if was_there || length.is_none() {
                    self.0.used.fetch_add(object.bytes, Ordering::Relaxed);
                }
                if length != Some(object.bytes) {
                    tracing::error!(job_id = job.id, "a stored payload or result is damaged and was dropped");
                    lost.push(Old { job: job.id.clone(), file: object.file.clone() });
                }
            }
            self.follow(job);
        }
        for file in orphans {
            let _ = tokio::fs::remove_file(self.path(&file)).await;
        }
        self.count();
        lost
    }

    /// A job has changed: what it names no longer is removed. Gives what was.
    pub(crate) fn follow(&self, job: &Job) -> Vec<Removed> {
        let mut index = lock(&self.0.index);
        let named: HashMap<_, _> =
            job.objects().map(|(_, _, object)| (object.file.as_str(), object)).collect();
        if named.is_empty() && !index.by_job.contains_key(&job.id) {
            return Vec::new();
        }
        let Index { by_job, by_time } = &mut *index;
        let files = by_job.entry(job.id.clone()).or_default();
        let gone = files.extract_if(|file, _| !named.contains_key(file.as_str()));
        let gone = gone.map(|(file, (bytes, stored_at))| {
            by_time.remove(&(stored_at, file.clone()));
            Removed { spool: self.clone(), file, bytes }
        });
        let gone: Vec<_> = gone.collect();
        for (file, object) in named {
            if files.insert(file.to_owned(), (object.bytes, object.stored_at)).is_none() {
                by_time.insert((object.stored_at, file.to_owned()), job.id.clone());
            }
        }
        if files.is_empty() {
            by_job.remove(&job.id);
        }
        gone
    }

    /// An object that no record may name.
    pub(crate) fn refuse(&self, object: &Object) -> Removed {
        Removed { spool: self.clone(), file: object.file.clone(), bytes: object.bytes }
    }

    /// A job is kept no longer, and nothing of it is.
    pub(crate) fn forget(&self, job: &str) -> Vec<Removed> {
        let mut index = lock(&self.0.index);
        let files = index.by_job.remove(job).unwrap_or_default();
        let removed = |(file, (bytes, stored_at)): (String, (u64, Millis))| {
            index.by_time.remove(&(stored_at, file.clone()));
            Removed { spool: self.clone(), file, bytes }
        };
        files.into_iter().map(removed).collect()
    }

    /// Objects that were stored before this moment.
    pub(crate) fn older_than(&self, moment: Millis) -> Vec<Old> {
        let index = lock(&self.0.index);
        let old = index.by_time.range(..(moment, String::new()));
        old.map(|((_, file), job)| Old { job: job.clone(), file: file.clone() }).collect()
    }

    /// Shows how much is used.
    fn count(&self) {
        let used = self.0.used.load(Ordering::Relaxed);
        self.0.metrics.spool_bytes.with([]).set(i64::try_from(used).unwrap_or(i64::MAX));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.folder.join(file)
    }

    fn full(&self) -> SpoolError {
        self.0.metrics.refuse(Bound::Spool);
        SpoolError::Full { bytes_max: self.0.bytes_max }
    }
}

/// A file that nothing names any more.
pub(crate) struct Removed {
    spool: Spool,
    file: String,
    bytes: u64,
}

impl Removed {
    /// Removes it. Who reads it at this moment reads on.
    pub(crate) async fn remove(self) {
        let Self { spool, file, bytes } = self;
        if let Err(error) = tokio::fs::remove_file(spool.path(&file)).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a stored payload or result can't be removed");
        }
        spool.0.used.fetch_sub(bytes, Ordering::Relaxed);
        spool.count();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    /// Its stored payloads and results, with their keys.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (Side, &str, &Object)> {
        let of = |side: Side| self.stored(side).iter().map(move |(key, object)| (side, key.as_str(), object));
        of(Side::Payload).chain(of(Side::Result))
    }
}

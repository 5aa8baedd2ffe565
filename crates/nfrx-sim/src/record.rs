//! What became of the requests: counters a test waits on, and the last requests seen.
//!
//! Work is counted by a guard that is held from the request's head to the last byte of
//! its answer, so a client that leaves is counted wherever it left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::Entry;
use http::{HeaderMap, Method, request};
use tokio::sync::watch;

/// How many of the last requests are kept.
pub const REQUESTS_KEPT_MAX: usize = 1024;

/// Headers never shown by `Debug`.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// Counters since the start. *Work* is a request for an answer (chat, completions,
/// responses, embeddings, transcriptions), not one for the models or the health.
///
/// Always: `started = finished + cancelled + cut + in_flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests of any kind whose head arrived.
    pub requests: u64,
    /// Bytes of request bodies read so far.
    pub body_bytes: u64,
    /// Work begun: its head arrived and there was room for it.
    pub started: u64,
    /// Work answered to the last byte, error answers included.
    pub finished: u64,
    /// Work whose client left before the head or before the end of the answer.
    pub cancelled: u64,
    /// Work cut on purpose (`x_sim_die_after`).
    pub cut: u64,
    /// Work answered 429, because `concurrency_max` was reached; never started.
    pub refused: u64,
    /// Work going on now.
    pub in_flight: u64,
    /// The most work that ever went on at once.
    pub in_flight_max: u64,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// The method.
    pub method: Method,
    /// Path and query, as sent.
    pub path: String,
    /// All headers. Credentials are marked sensitive: `Debug` masks them.
    pub headers: HeaderMap,
    /// Bytes of its body read so far.
    pub body_bytes: u64,
}

/// Shared by the connections of one simulated backend.
#[derive(Debug, Default)]
pub(crate) struct Record {
    stats: watch::Sender<Stats>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How many were dropped from the front.
    dropped: u64,
    requests: VecDeque<RequestRecord>,
}

/// Names a kept request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestNumber(u64);

impl Record {
    pub(crate) fn watch(&self) -> watch::Receiver<Stats> {
        self.stats.subscribe()
    }

    pub(crate) fn stats(&self) -> Stats {
        *self.stats.borrow()
    }

    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        self.kept().requests.iter().cloned().collect()
    }

    /// Keeps a request and counts it.
    pub(crate) fn arrived(&self, head: request::Parts) -> RequestNumber {
        let mut headers = head.headers;
        for name in SECRET_HEADERS {
            if let Entry::Occupied(mut values) = headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let path = head.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
        let number = {
            let mut kept = self.kept();
            if kept.requests.len() == REQUESTS_KEPT_MAX {
                kept.requests.pop_front();
                kept.dropped += 1;
            }
            kept.requests.push_back(RequestRecord { method: head.method, path, headers, body_bytes: 0 });
            RequestNumber(kept.dropped + kept.requests.len() as u64 - 1)
        };
        self.stats.send_modify(|stats| stats.requests += 1);
        number
    }

    /// Counts body bytes read for a request, which may no longer be kept.
    pub(crate) fn read(&self, number: RequestNumber, bytes: usize) {
        let bytes = bytes as u64;
        {
            let mut kept = self.kept();
            let index = number.0.checked_sub(kept.dropped).map(|index| index as usize);
            if let Some(request) = index.and_then(|index| kept.requests.get_mut(index)) {
                request.body_bytes += bytes;
            }
        }
        self.stats.send_modify(|stats| stats.body_bytes += bytes);
    }

    /// Takes room for one piece of work; `None` when `concurrency_max` (0: no limit) is reached.
    pub(crate) fn start(self: &Arc<Self>, concurrency_max: u32) -> Option<Work> {
        let mut admitted = false;
        self.stats.send_modify(|stats| {
            admitted = concurrency_max == 0 || stats.in_flight < u64::from(concurrency_max);
            if admitted {
                stats.started += 1;
                stats.in_flight += 1;
                stats.in_flight_max = stats.in_flight_max.max(stats.in_flight);
            } else {
                stats.refused += 1;
            }
        });
        admitted.then(|| Work { record: Arc::clone(self), end: End::Cancelled })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic cannot leave the list half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One piece of work. Dropped without a word, its client has left.
#[derive(Debug)]
pub(crate) struct Work {
    record: Arc<Record>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Finished,
    Cancelled,
    Cut,
}

impl Work {
    /// The last byte of the answer was handed over.
    pub(crate) fn finish(mut self) {
        self.end = End::Finished;
    }

    /// The answer ends here on purpose.
    pub(crate) fn cut(mut self) {
        self.end = End::Cut;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.record.stats.send_modify(|stats| {
            stats.in_flight -= 1;
            match self.end {
                End::Finished => stats.finished += 1,
                End::Cancelled => stats.cancelled += 1,
                End::Cut => stats.cut += 1,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn arrive(record: &Record, path: &str) -> RequestNumber {
        let request = Request::builder().uri(path).header("authorization", "Bearer secret").body(()).unwrap();
        record.arrived(request.into_parts().0)
    }

    #[test]
    fn each_end_of_work_is_counted_once_and_frees_its_room() {
        let record = Arc::new(Record::default());
        let [one, two, three] = [0; 3].map(|_| record.start(3).unwrap());
        assert!(record.start(3).is_none());
        one.finish();
        two.cut();
        // Seen to fail: without the guard's drop.
        drop(three);
        let expected = Stats {
            started: 3,
            finished: 1,
            cut: 1,
            cancelled: 1,
            refused: 1,
            in_flight_max: 3,
            ..Stats::default()
        };
        assert_eq!(record.stats(), expected);
    }

    #[test]
    fn only_the_last_requests_are_kept_and_late_bytes_find_theirs() {
        let record = Record::default();
        let first = arrive(&record, "/0");
        let numbers: Vec<_> = (1..=REQUESTS_KEPT_MAX).map(|n| arrive(&record, &format!("/{n}"))).collect();
        record.read(first, 5);
        record.read(numbers[1], 7);
        let requests = record.requests();
        assert_eq!((requests.len(), requests[0].path.as_str()), (REQUESTS_KEPT_MAX, "/1"));
        let bytes: Vec<_> = requests[..3].iter().map(|request| request.body_bytes).collect();
        assert_eq!(bytes, [0, 7, 0]);
        assert_eq!(record.stats().body_bytes, 12);
    }

    #[test]
    fn a_kept_key_is_readable_but_never_printed() {
        let record = Record::default();
        arrive(&record, "/");
        let request = record.requests().remove(0);
        assert_eq!(request.headers["authorization"], "Bearer secret");
        // Seen to fail: without marking the header sensitive.
        assert!(!format!("{request:?}").contains("secret"));
    }
}

//! What is written down of one request, exactly once, whatever way it goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::response;
use nfrx_spi::Moment;

use super::Observer;
use crate::metrics::Series;
use crate::pool::{Inner, Pool};
use crate::slot::Slot;
use crate::worker::Worker;

/// The code of a request whose client left.
const CANCELED: &str = "canceled";

/// One request's record. Dropped without an end, its client has left.
pub(super) struct Record {
    pool: Arc<Inner>,
    series: Arc<Series>,
    observer: Option<Box<dyn Observer>>,
    accepted: Moment,
    started: bool,
    first_byte: bool,
    attempt: Option<(Arc<Worker>, Moment)>,
    ended: bool,
}

impl Record {
    pub(super) fn new(pool: &Pool, series: Arc<Series>, observer: Option<Box<dyn Observer>>) -> Self {
        series.accepted();
        let pool = Arc::clone(&pool.inner);
        let accepted = pool.config.clock.now();
        Self {
            pool,
            series,
            observer,
            accepted,
            started: false,
            first_byte: false,
            attempt: None,
            ended: false,
        }
    }

    pub(super) fn waited(&self, span: Duration) {
        self.series.queue_wait.observe_duration(span);
    }

    /// The request goes to a worker; counted once, however often it is sent.
    pub(super) fn start(&mut self, slot: &Slot) {
        self.start_split();
        self.attempt = Some((Arc::clone(slot.worker()), self.pool.config.clock.now()));
    }

    /// The request goes to several workers, of which each counts its own parts.
    pub(super) fn start_split(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.series.started();
        }
    }

    pub(super) fn head(&mut self, head: &response::Parts) {
        if let Some(observer) = &mut self.observer {
            observer.head(head);
        }
    }

    pub(super) fn data(&mut self, bytes: &Bytes) {
        if !self.first_byte && !bytes.is_empty() {
            self.first_byte = true;
            self.series.first_byte.observe_duration(self.pool.config.clock.now().since(self.accepted));
        }
        if let Some(observer) = &mut self.observer {
            observer.data(bytes);
        }
    }

    /// The worker's part is over, the request's may not be.
    pub(super) fn end_attempt(&mut self, error: Option<&'static str>) {
        if let Some((worker, since)) = self.attempt.take() {
            worker.note_end(self.pool.config.clock.now().since(since), error);
        }
    }

    /// The request is over. `error` is empty for success, `None` when its client left.
    pub(super) fn end(&mut self, error: Option<&'static str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let usage = self.observer.take().map(|mut observer| observer.end(error)).unwrap_or_default();
        if let Some((worker, _)) = &self.attempt {
            worker.tally.tokens_in.fetch_add(usage.tokens_in, Ordering::Relaxed);
            worker.tally.tokens_out.fetch_add(usage.tokens_out, Ordering::Relaxed);
        }
        self.end_attempt(error);
        if self.started {
            let took = self.pool.config.clock.now().since(self.accepted);
            self.pool.config.metrics.ended(&self.series, took, error.unwrap_or(CANCELED), usage);
            self.pool.count_end(error);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(None);
    }
}

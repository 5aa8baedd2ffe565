//! What is written down of one request, exactly once, whatever way it goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::response;
use nfrx_spi::{JobEnd, Moment, TokenKind, WorkerRef, WorkerStatus};

use super::Observer;
use crate::metrics::{Series, Usage};
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
    /// How long the last attempt was with its worker.
    took: Duration,
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
            took: Duration::ZERO,
            ended: false,
        }
    }

    pub(super) fn waited(&self, span: Duration) {
        self.series.queue_wait.observe_duration(span);
    }

    /// The request goes to a worker; counted once, however often it is sent.
    pub(super) fn start(&mut self, slot: &Slot) {
        self.start_split();
        self.pool.tell(|observer| {
            observer.record_job_start(slot.worker().id());
            observer.set_worker_status(slot.worker().id(), WorkerStatus::Working);
        });
        self.attempt = Some((Arc::clone(slot.worker()), self.pool.config.clock.now()));
    }

    /// The request goes to several workers, of which each counts its own parts.
    pub(super) fn start_split(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.pool.config.metrics.started(&self.series);
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
            let took = self.pool.config.clock.now().since(since);
            worker.note_end(took, error);
            self.took = took;
            let model = self.series.label();
            self.pool.tell(|observer| {
                observer.observe_request_duration(worker.id(), model, took);
                observer.record_worker_processing_time(worker.id(), took);
                // This one's slot is given back a moment later.
                if worker.in_flight() <= 1 {
                    observer.set_worker_status(worker.id(), WorkerStatus::Idle);
                }
            });
        }
    }

    /// The request is over. `error` is empty for success, `None` when its client left.
    pub(super) fn end(&mut self, error: Option<&'static str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let usage = self.observer.take().map(|mut observer| observer.end(error)).unwrap_or_default();
        let worker = self.attempt.as_ref().map(|(worker, _)| Arc::clone(worker));
        if let Some(worker) = &worker {
            worker.tally.tokens_in.fetch_add(usage.tokens_in, Ordering::Relaxed);
            worker.tally.tokens_out.fetch_add(usage.tokens_out, Ordering::Relaxed);
        }
        self.end_attempt(error);
        if self.started {
            self.tell_end(worker.as_deref(), usage, error.unwrap_or(CANCELED));
        }
        if self.started {
            let took = self.pool.config.clock.now().since(self.accepted);
            self.pool.config.metrics.ended(&self.series, took, error.unwrap_or(CANCELED), usage);
            self.pool.count_end(error);
        }
    }
}

impl Record {
    /// A part of a split request ended at its worker.
    pub(super) fn chunk_ended(&self, worker: &Worker, elements: usize, took: Duration, error: &'static str) {
        worker.note_end(took, Some(error));
        self.pool.config.metrics.chunk_ended(&self.series, worker.id(), elements as u64, took, error);
        let model = self.series.label();
        self.pool.tell(|observer| {
            observer.observe_request_duration(worker.id(), model, took);
            observer.record_worker_processing_time(worker.id(), took);
            observer.record_worker_embedding_processing_time(worker.id(), took);
            if error.is_empty() {
                observer.record_worker_embeddings(worker.id(), elements as u64);
            }
        });
    }

    /// Tells the end, and what was used; `worker` is `None` for a split request, whose
    /// parts were told one by one.
    fn tell_end(&self, worker: Option<&Worker>, usage: Usage, error: &'static str) {
        let (model, success) = (self.series.label(), error.is_empty());
        let tokens = [(TokenKind::In, usage.tokens_in), (TokenKind::Out, usage.tokens_out)];
        self.pool.tell(|observer| {
            observer.record_model_request(model, success);
            for (kind, count) in tokens.into_iter().filter(|(_, count)| *count > 0) {
                observer.record_model_tokens(model, kind, count);
                if let Some(worker) = worker {
                    observer.record_worker_tokens(worker.id(), kind, count);
                }
            }
            if usage.embeddings > 0 {
                observer.record_model_embeddings(model, usage.embeddings);
            }
            let Some(worker) = worker else { return };
            if usage.embeddings > 0 {
                observer.record_worker_embeddings(worker.id(), usage.embeddings);
                observer.record_worker_embedding_processing_time(worker.id(), self.took);
            }
            observer.record_job_end(&JobEnd {
                worker_id: worker.id(),
                model,
                took: self.took,
                tokens_in: usage.tokens_in,
                tokens_out: usage.tokens_out,
                embeddings: usage.embeddings,
                success,
                error,
            });
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(None);
    }
}

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
    /// Tokens of this answer that its worker's live count has already.
    tokens_live: u64,
    /// Whether the answer's status is one of success.
    good: bool,
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
            tokens_live: 0,
            good: false,
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
        self.good = head.status.as_u16() < 400;
        if let Some(observer) = &mut self.observer {
            observer.head(head);
        }
    }

    pub(super) fn data(&mut self, bytes: &Bytes) {
        if !self.first_byte && !bytes.is_empty() {
            self.first_byte = true;
            self.note_first_byte();
        }
        if let Some(observer) = &mut self.observer {
            observer.data(bytes);
            let tokens = observer.tokens_so_far();
            self.count_live(tokens);
        }
    }

    fn note_first_byte(&self) {
        let now = self.pool.config.clock.now();
        self.series.first_byte.observe_duration(now.since(self.accepted));
        // An error comes sooner than a token: it would make a broken worker look fast.
        if let Some((worker, since)) = self.attempt.as_ref().filter(|_| self.good) {
            worker.tally.first_bytes.note(now.since(*since));
        }
    }

    /// Brings the worker's live count up to so many tokens of this answer.
    fn count_live(&mut self, tokens: u64) {
        let Some((worker, _)) = self.attempt.as_ref().filter(|_| tokens > self.tokens_live) else { return };
        worker.tally.tokens_live.fetch_add(tokens - self.tokens_live, Ordering::Relaxed);
        self.tokens_live = tokens;
    }

    /// The worker's part is over, the request's may not be.
    pub(super) fn end_attempt(&mut self, error: Option<&'static str>) {
        if let Some((worker, since)) = self.attempt.take() {
            let now = self.pool.config.clock.now();
            let took = now.since(since);
            worker.note_end(now, took, error);
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
        self.count_live(usage.tokens_out);
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
        worker.note_end(self.pool.config.clock.now(), took, Some(error));
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

//! Work that is split over workers: who gets which piece, and what happens when one fails.
//!
//! One task drives it all, the request's own: dropping it cancels every chunk. A slot that
//! was taken stays with the work until nothing is left to send, as the slot of any long
//! request does; beyond those, the work waits for one more slot at a time like everybody
//! else, so that a worker that becomes idle takes over what is still to do.

mod chunk;
mod pending;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use nfrx_spi::{Body, BoxFuture, CallError, Moment, PartitionJob, WorkerRef};

use super::error::status_code;
use super::record::Record;
use super::{Admission, Dispatch, DispatchError, RETRIES_MAX, Sent};
use crate::slot::Slot;
use crate::state::TakeError;
use crate::waiting::Waiting;
use chunk::{Chunk, Failure, run_chunk};
use pending::{Pending, Piece};

/// How a split request may spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many chunks may be with workers at once; at least 1.
    pub parallel_max: usize,
    /// How many bytes all answers together may have: they are held until the last has
    /// come. Over it the request fails.
    pub answer_bytes_max: usize,
}

impl Dispatch {
    /// Like [`run`](Dispatch::run), but work that is more than its worker likes at once is
    /// split over several. What fits the first worker goes there as the client sent it.
    ///
    /// A chunk that fails is tried elsewhere, unless its worker says that the client is at
    /// fault (a status from 400 to 499 other than 429): then that answer is the answer.
    pub async fn run_split(
        mut self,
        job: Box<dyn PartitionJob>,
        spread: Spread,
    ) -> Result<Response<Body>, DispatchError> {
        loop {
            let slot = match self.admit()? {
                Admission::Slot(slot) => slot,
                Admission::Queued(queued) => self.leave_queue(queued.await)?,
            };
            let share = self.share(&slot, job.size(), spread.parallel_max);
            if chunk_len(&*job, &slot, share) < job.size() {
                return Split::new(self, job, spread, share)?.run(slot).await;
            }
            if let Sent::Answer(answer) = self.send(slot).await? {
                return Ok(answer);
            }
        }
    }

    /// A fair share for workers that prefer nothing: one for the worker whose slot was just
    /// taken, and one for each other that has room. A worker alone gets all in one call.
    fn share(&self, slot: &Slot, size: usize, parallel_max: usize) -> usize {
        let others =
            self.pool.inner.with(|state| state.room_beside(slot.key(), self.want.wish(), parallel_max));
        size.div_ceil((1 + others).min(parallel_max.max(1)))
    }
}

/// How many elements the slot's worker is sent at once.
fn chunk_len(job: &dyn PartitionJob, slot: &Slot, share: usize) -> usize {
    let worker: &dyn WorkerRef = &**slot.worker();
    match (job.desired_chunk_size(worker), worker.preferred_batch_size() as usize) {
        (0, 0) => share,
        (0, preferred) => preferred,
        (desired, _) => desired,
    }
    .max(1)
}

/// A split request under way.
struct Split {
    dispatch: Dispatch,
    record: Box<Record>,
    job: Box<dyn PartitionJob>,
    spread: Spread,
    share: usize,
    uri: Uri,
    began: Moment,
    pending: Pending,
    running: FuturesUnordered<BoxFuture<'static, Chunk>>,
    /// One more slot, while there is something to do for it.
    waiting: Option<Waiting>,
    /// The limit of waiting, while no chunk is with a worker.
    limit: Option<BoxFuture<'static, ()>>,
    bytes_left: usize,
}

/// What a split request waits for.
enum Event {
    Ended(Box<Chunk>),
    Slot(Result<Slot, TakeError>),
    WaitedTooLong,
}

/// Why all of it failed.
enum Final {
    /// This is what the client is told.
    Answer(Box<Response<Body>>),
    Error(DispatchError),
}

impl Split {
    fn new(
        mut dispatch: Dispatch,
        job: Box<dyn PartitionJob>,
        spread: Spread,
        share: usize,
    ) -> Result<Self, DispatchError> {
        let Some(mut record) = dispatch.record.take() else { return Err(DispatchError::NoWorker) };
        record.start_split();
        // Chunks have lengths of their own.
        dispatch.headers.remove(CONTENT_LENGTH);
        Ok(Self {
            uri: chunk_uri(job.path(), &dispatch.uri),
            began: dispatch.pool.inner.config.clock.now(),
            pending: Pending::new(job.size()),
            running: FuturesUnordered::new(),
            waiting: None,
            limit: None,
            bytes_left: spread.answer_bytes_max,
            dispatch,
            record,
            job,
            spread,
            share,
        })
    }

    async fn run(mut self, first: Slot) -> Result<Response<Body>, DispatchError> {
        let outcome = self.drive(first).await;
        // Whatever still runs is in vain, and its workers shall know before the client.
        self.running.clear();
        self.waiting = None;
        let (code, result) = match outcome {
            Ok(()) => ("", Ok(self.merged())),
            Err(Final::Answer(answer)) => (status_code(answer.status()), Ok(*answer)),
            Err(Final::Error(error)) => (error.code(), Err(error)),
        };
        if let Some(observer) = self.job.observer() {
            let took = self.now().since(self.began);
            observer.on_job_result(self.dispatch.want.label(), took, self.job.size(), code.is_empty());
        }
        self.record.end(Some(code));
        result
    }

    async fn drive(&mut self, first: Slot) -> Result<(), Final> {
        self.send_next(first);
        while !(self.running.is_empty() && self.pending.is_empty()) {
            self.take_slots()?;
            match poll_fn(|cx| self.poll_event(cx)).await {
                Event::Ended(chunk) => self.ended(*chunk)?,
                Event::Slot(Ok(slot)) => {
                    (self.waiting, self.limit) = (None, None);
                    self.send_next(slot);
                }
                // Whether that is the end is for the next look to say.
                Event::Slot(Err(_)) => self.waiting = None,
                Event::WaitedTooLong => return Err(Final::Error(DispatchError::WaitedTooLong)),
            }
        }
        Ok(())
    }

    /// Sends what is free to be sent, and begins to wait for one more slot when more could
    /// be done.
    fn take_slots(&mut self) -> Result<(), Final> {
        while !self.pending.is_empty()
            && self.running.len() < self.spread.parallel_max.max(1)
            && self.waiting.is_none()
        {
            // The first wait has the request's place in time; a wait for more than it has
            // already is a newcomer's.
            let mut waiting = if self.running.is_empty() {
                self.dispatch.pool.wait(&self.dispatch.want)
            } else {
                self.dispatch.pool.wait(&self.dispatch.want.for_more(&self.dispatch.pool))
            };
            match waiting.take_ready() {
                Some(Ok(slot)) => self.send_next(slot),
                Some(Err(_)) if !self.running.is_empty() => return Ok(()),
                Some(Err(error)) => return Err(Final::Error(self.dispatch.refuse(error))),
                None => self.waiting = Some(waiting),
            }
        }
        if self.pending.is_empty() {
            self.waiting = None;
        }
        let limit = self.dispatch.limits.queue;
        if self.running.is_empty() && self.limit.is_none() && !limit.is_zero() {
            self.limit = Some(self.dispatch.pool.inner.config.clock.sleep(limit));
        }
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(Some(chunk)) = self.running.poll_next_unpin(cx) {
            return Poll::Ready(Event::Ended(Box::new(chunk)));
        }
        if let Some(waiting) = &mut self.waiting
            && let Poll::Ready(slot) = Pin::new(waiting).poll(cx)
        {
            return Poll::Ready(Event::Slot(slot));
        }
        match &mut self.limit {
            Some(limit) if self.running.is_empty() => limit.as_mut().poll(cx).map(|()| Event::WaitedTooLong),
            _ => Poll::Pending,
        }
    }

    /// The next piece goes to this worker; without one, the slot is given back.
    fn send_next(&mut self, slot: Slot) {
        let Some(piece) = self.pending.take(chunk_len(&*self.job, &slot, self.share)) else { return };
        let mut request = Request::new(Body::from(self.job.make_chunk(piece.start, piece.count)));
        *request.method_mut() = self.dispatch.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.dispatch.headers.clone();
        let run = run_chunk(slot, piece, request, self.dispatch.limits, self.bytes_left);
        self.running.push(Box::pin(run));
    }

    fn ended(&mut self, chunk: Chunk) -> Result<(), Final> {
        let Chunk { slot, piece, took, outcome } = chunk;
        let merged = outcome.and_then(|bytes| {
            // Chunks that ran side by side were each allowed all that was left then.
            self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or(Failure::TooLarge)?;
            self.job.append(bytes, piece.start, piece.count).map_err(Failure::Merge)
        });
        let code = merged.as_ref().err().map_or("", Failure::code);
        self.note(&slot, &piece, took, code);
        match merged {
            Ok(()) => {
                if self.dispatch.pool.inner.read(|state| state.still_serves(slot.key())) {
                    self.send_next(slot);
                }
                Ok(())
            }
            Err(failure) => self.failed(failure, slot, piece),
        }
    }

    /// A chunk failed: another worker, or the end of all.
    fn failed(&mut self, failure: Failure, slot: Slot, piece: Piece) -> Result<(), Final> {
        if failure.is_clients() {
            return Err(failure.into());
        }
        if let Failure::Call(error) = &failure {
            self.dispatch.note_call_error(*error, &slot);
        }
        self.dispatch.want.exclude(&slot);
        drop(slot);
        // A wait of before would take what has just failed.
        self.waiting = None;
        let inner = &self.dispatch.pool.inner;
        let may_try = piece.tries < RETRIES_MAX
            && failure.may_retry()
            && inner.with(|state| state.supports(self.dispatch.want.wish()))
            && (!matches!(failure, Failure::Call(CallError::Unreachable))
                || inner.budget.lock().try_retry(inner.config.clock.now()));
        if !may_try {
            return Err(failure.into());
        }
        inner.config.metrics.retried(inner.config.plugin, failure.code());
        self.dispatch.failure = Some(failure.as_error());
        self.pending.put_back(piece);
        Ok(())
    }

    fn note(&self, slot: &Slot, piece: &Piece, took: std::time::Duration, code: &'static str) {
        self.record.chunk_ended(slot.worker(), piece.count, took, code);
        let worker_id = slot.worker().id();
        if let Some(observer) = self.job.observer() {
            let label = self.dispatch.want.label();
            observer.on_chunk_result(worker_id, label, took, piece.count, code.is_empty());
        }
    }

    fn merged(&mut self) -> Response<Body> {
        let whole = self.job.result();
        self.record.data(&whole);
        let mut response = Response::new(Body::from(whole));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn now(&self) -> Moment {
        self.dispatch.pool.inner.config.clock.now()
    }
}

impl From<Failure> for Final {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Status(answer) => Self::Answer(answer),
            other => Self::Error(other.as_error()),
        }
    }
}

/// The job's path with the client's query (KD-69).
fn chunk_uri(path: &str, client: &Uri) -> Uri {
    let whole = match client.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // The query was in a URI, so it fits into one.
    whole.parse().unwrap_or_else(|_| client.clone())
}

/// Whether a status says that the request is wrong, whoever answers it.
fn is_clients_fault(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

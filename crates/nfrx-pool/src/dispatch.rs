//! A request's way to a worker: a slot, the call, another worker when that fails before
//! the first byte, and an answer that holds its slot to its end.
//!
//! The steps are separate ([`Dispatch::admit`], [`Dispatch::send`]), since a plugin may
//! have something to say to its client while the request waits. [`Dispatch::run`] is all
//! of them in a row.

mod answer;
mod budget;
mod error;
mod idle;
mod once;
mod record;
mod spans;
mod split;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version, response};
use nfrx_spi::{Body, BoxFuture, CallError, Moment, SpanNotes, Trace, WorkerRef};

use crate::metrics::{Refusal, Usage};
use crate::pool::Pool;
use crate::slot::Slot;
use crate::state::{Change, TakeError};
use crate::waiting::Waiting;
use crate::want::Want;
use answer::Answer;
pub(crate) use budget::Budget;
pub use error::DispatchError;
use idle::IdleWatch;
use once::Once;
use record::Record;
use spans::Spans;
pub use split::Spread;

/// How often a request may be sent again.
const RETRIES_MAX: u32 = 2;

/// A request for the pool.
pub struct Work {
    /// Which workers will do.
    pub want: Want,
    /// What the worker is sent: method, path, headers, body. Extensions stay here. It may
    /// be tried on another worker while all bytes of its body are at hand, or as long as
    /// no worker has taken any.
    pub request: Request<Body>,
    /// The metric label `job_type`, such as `llm.completion`.
    pub job_type: &'static str,
    /// The metric label `label` where it is always the same; `None` for the wanted label.
    pub metric_label: Option<&'static str>,
    /// Whether it may wait in the queue.
    pub may_wait: bool,
    /// How long anything may take.
    pub limits: Limits,
    /// Sees the answer in passing.
    pub observer: Option<Box<dyn Observer>>,
}

/// How long a request may wait. Zero switches a limit off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// No sign of the request or, by its heartbeats, of its worker (HTTP contract §7).
    pub idle: Duration,
    /// No byte of the request, of its answer or of a body that streams in, however lively
    /// the worker is (KD-9).
    pub silence: Duration,
    /// In the queue (KD-72).
    pub queue: Duration,
}

/// Sees an answer in passing and tells at the end what it used.
pub trait Observer: Send + 'static {
    /// The answer's head, once, if there is an answer.
    fn head(&mut self, _head: &response::Parts) {}

    /// A piece of the answer's body, as it came.
    fn data(&mut self, bytes: &Bytes);

    /// How many tokens were written up to here, as far as the pieces tell. Asked after each
    /// piece, so it must be at hand. Counts none by default.
    fn tokens_so_far(&self) -> u64 {
        0
    }

    /// The end, once, whatever way the request went. `error` is empty for success, `None`
    /// when the client left, else a code of the closed set of the metrics.
    fn end(&mut self, error: Option<&'static str>) -> Usage;
}

/// A request under way. Dropping it, in any step, cancels the request.
pub struct Dispatch {
    pool: Pool,
    want: Want,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Payload,
    may_wait: bool,
    limits: Limits,
    /// Boxed: it goes on from here into the answer.
    record: Option<Box<Record>>,
    retries: u32,
    failure: Option<DispatchError>,
    waiting_since: Option<Moment>,
}

enum Payload {
    Again(Bytes),
    Once(Once),
}

impl Payload {
    fn can_be_sent(&self) -> bool {
        match self {
            Self::Again(_) => true,
            Self::Once(once) => once.is_here(),
        }
    }
}

/// What [`Dispatch::admit`] found.
#[derive(Debug)]
pub enum Admission {
    /// A slot is free and taken.
    Slot(Slot),
    /// All are busy; this completes with a slot.
    Queued(Queued),
}

/// What came of [`Dispatch::send`].
#[derive(Debug)]
pub enum Sent {
    /// The worker's answer. Its body frees the slot when it ends or is dropped.
    Answer(Response<Body>),
    /// The worker failed before its answer, and another may be tried: admit again.
    Again,
}

impl Pool {
    /// Begins a request.
    pub fn dispatch(&self, work: Work) -> Dispatch {
        let config = &self.inner.config;
        let label = match work.metric_label {
            Some(label) => label,
            None if self.is_offered(work.want.label()) => work.want.label(),
            None => "unknown",
        };
        let series = config.metrics.series(config.plugin, work.job_type, label);
        let now = config.clock.now();
        self.inner.budget.lock().note_request(now);
        let (mut head, body) = work.request.into_parts();
        let notes = head.extensions.remove::<SpanNotes>().unwrap_or_default();
        // Only a request that is traced has any.
        let spans = head.extensions.get::<Trace>().map(|trace| {
            let model = work.want.label();
            Spans::new(trace.clone(), work.job_type, model, notes, config.clock.wall())
        });
        Dispatch {
            pool: self.clone(),
            record: Some(Box::new(Record::new(self, series, work.observer, spans))),
            want: work.want,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: body
                .as_bytes()
                .map_or_else(|| Payload::Once(Once::new(body, &config.clock)), Payload::Again),
            may_wait: work.may_wait,
            limits: work.limits,
            retries: 0,
            failure: None,
            waiting_since: None,
        }
    }
}

impl Dispatch {
    /// Takes a slot, or a place in the queue. After an error the request is over.
    pub fn admit(&mut self) -> Result<Admission, DispatchError> {
        if !self.may_wait {
            return match self.pool.take(&self.want) {
                Ok(slot) => Ok(Admission::Slot(slot)),
                Err(error) => Err(self.refuse(error)),
            };
        }
        let mut waiting = self.pool.wait(&self.want);
        match waiting.take_ready() {
            Some(Ok(slot)) => Ok(Admission::Slot(slot)),
            Some(Err(error)) => Err(self.refuse(error)),
            None => Ok(Admission::Queued(self.queued(waiting))),
        }
    }

    /// Sends the request to the slot's worker and waits for the head of its answer. After
    /// an error the request is over.
    pub async fn send(&mut self, slot: Slot) -> Result<Sent, DispatchError> {
        let Some(mut record) = self.record.take() else { return Err(DispatchError::NoWorker) };
        record.start(&slot);
        let upload = match &self.body {
            Payload::Again(_) => None,
            Payload::Once(once) => Some(once.upload()),
        };
        let mut idle = IdleWatch::new(&slot, self.limits, upload);
        let mut request = self.request();
        record.mark(&mut request);
        let call = slot.worker().call(request);
        match idle.first(call).await {
            Some(Ok(response)) => Ok(Sent::Answer(Answer::wrap(response, slot, idle, record))),
            Some(Err(error)) => self.failed(error, slot, record),
            None => {
                record.end(Some(DispatchError::Timeout.code()));
                Err(DispatchError::Timeout)
            }
        }
    }

    /// All steps: waits as long as need be, tries other workers as often as allowed.
    pub async fn run(mut self) -> Result<Response<Body>, DispatchError> {
        loop {
            let slot = match self.admit()? {
                Admission::Slot(slot) => slot,
                Admission::Queued(queued) => self.leave_queue(queued.await)?,
            };
            if let Sent::Answer(response) = self.send(slot).await? {
                return Ok(response);
            }
        }
    }

    /// Takes note of how the wait ended; to be called with what [`Queued`] gave.
    pub fn leave_queue(&mut self, slot: Result<Slot, QueueEnd>) -> Result<Slot, DispatchError> {
        if let (Some(since), Some(record)) = (self.waiting_since, &self.record) {
            record.waited(self.pool.inner.config.clock.now().since(since));
        }
        match slot {
            Ok(slot) => Ok(slot),
            Err(QueueEnd::NoWorker) => Err(self.refuse(TakeError::NoWorker)),
            Err(QueueEnd::TooLong) => {
                let config = &self.pool.inner.config;
                config.metrics.refused(config.plugin, Refusal::WaitedTooLong);
                Err(self.over(DispatchError::WaitedTooLong))
            }
        }
    }

    fn queued(&mut self, waiting: Waiting) -> Queued {
        let clock = &self.pool.inner.config.clock;
        let now = clock.now();
        // The wait of a request that is tried again goes on where it was.
        let since = *self.waiting_since.get_or_insert(now);
        let left = self.limits.queue.saturating_sub(now.since(since));
        let limit = (!self.limits.queue.is_zero()).then(|| clock.sleep(left));
        Queued { waiting, limit }
    }

    fn request(&self) -> Request<Body> {
        let body = match &self.body {
            Payload::Again(bytes) => Body::from(bytes.clone()),
            Payload::Once(once) => once.lend(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The call failed before the answer's head: another worker, or the end.
    fn failed(
        &mut self,
        error: CallError,
        slot: Slot,
        mut record: Box<Record>,
    ) -> Result<Sent, DispatchError> {
        self.note_call_error(error, &slot);
        self.want.exclude(&slot);
        if !self.may_retry(error) {
            record.end(failure_code(error));
            return Err(DispatchError::Call(error));
        }
        let config = &self.pool.inner.config;
        config.metrics.retried(config.plugin, error.code());
        record.end_attempt(failure_code(error));
        self.retries += 1;
        self.failure = Some(DispatchError::Call(error));
        self.record = Some(record);
        Ok(Sent::Again)
    }

    /// Nothing more goes to a worker that is lost or drains until it shows that it is back
    /// (KD-8).
    fn note_call_error(&self, error: CallError, slot: &Slot) {
        let change = match error {
            CallError::Lost => Change { lost: Some(true), ..Change::default() },
            CallError::Draining => Change { draining: Some(true), ..Change::default() },
            _ => return,
        };
        self.pool.inner.change(slot.key(), change);
    }

    /// Decision 10: a worker that is lost, drains or is at its ceiling costs no budget; a
    /// backend that can't be reached does, since all may be down at once.
    fn may_retry(&self, error: CallError) -> bool {
        let inner = &self.pool.inner;
        error.may_retry()
            && self.retries < RETRIES_MAX
            && self.body.can_be_sent()
            && inner.with(|state| state.supports(self.want.wish()))
            && (error != CallError::Unreachable || inner.budget.lock().try_retry(inner.config.clock.now()))
    }

    fn refuse(&mut self, error: TakeError) -> DispatchError {
        let (why, error) = match error {
            TakeError::NoWorker => (Refusal::NoWorker, DispatchError::NoWorker),
            TakeError::Busy => (Refusal::QueueFull, DispatchError::QueueFull),
        };
        if let Some(failure) = self.failure {
            // It was with a worker, so the failure there is what there is to say.
            return self.over(failure);
        }
        let config = &self.pool.inner.config;
        config.metrics.refused(config.plugin, why);
        self.over(error)
    }

    fn over(&mut self, error: DispatchError) -> DispatchError {
        if let Some(mut record) = self.record.take() {
            record.end(Some(error.code()));
        }
        error
    }
}

fn failure_code(error: CallError) -> Option<&'static str> {
    // A body that broke off is a client that left.
    (error != CallError::RequestBody).then(|| error.code())
}

/// A request in the queue. Completes with a slot; give what it says to
/// [`Dispatch::leave_queue`]. Dropping it leaves the queue.
pub struct Queued {
    waiting: Waiting,
    limit: Option<BoxFuture<'static, ()>>,
}

/// Why a request left the queue without a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEnd {
    /// The last worker that serves it left.
    NoWorker,
    /// The limit of waiting is over.
    TooLong,
}

impl Queued {
    /// The place among all who wait, from 1; `None` when it waits no more.
    pub fn position(&self) -> Option<usize> {
        self.waiting.position()
    }
}

impl Future for Queued {
    type Output = Result<Slot, QueueEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(result) = Pin::new(&mut self.waiting).poll(cx) {
            return Poll::Ready(result.map_err(|_| QueueEnd::NoWorker));
        }
        match &mut self.limit {
            Some(limit) => limit.as_mut().poll(cx).map(|()| Err(QueueEnd::TooLong)),
            None => Poll::Pending,
        }
    }
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("position", &self.position()).finish()
    }
}

#[cfg(test)]
mod tests;

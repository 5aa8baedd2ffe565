//! What the pool of a plugin's workers offers, and the scorer a plugin gives it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use serde::Serialize;

use crate::{Body, BodyError, CallError, WorkerRef};

/// Says how well a worker that offers one label suits work that wants another.
///
/// Given by the plugin to its pool. A pure function of its arguments, since the pool keeps
/// what it gave for a pair (decision 9), and a quick one: it is called under the pool's
/// lock, by the task that takes or frees a slot. Both labels may be anybody's text.
pub trait Scorer: Send + Sync + 'static {
    /// The score; higher is better, under the pool's `min_score` is "not at all". By habit
    /// 1 is a perfect fit and 0 none.
    fn score(&self, wanted: &str, offered: &str) -> f64;

    /// The score of any worker, whatever it offers, so that labels may be ignored.
    fn score_any(&self, _wanted: &str) -> f64 {
        0.0
    }
}

/// Finds a worker and takes a slot on it, in one step.
///
/// Implemented by `nfrx-pool`; called by handlers, from the request's task. This is the
/// plain way: no queue, no second try, no limit of time, and no count in the request
/// series. The pool's `Dispatch` has all of these.
pub trait Scheduler: Send + Sync + 'static {
    /// The best worker for `label`, its slot taken, or why there is none. Never waits, and
    /// never overtakes a request that waits in the pool's queue for that slot.
    fn pick_worker(&self, label: &str) -> Result<PickedWorker, PickError>;
}

/// A worker with a slot taken on it; dropping it frees the slot, so keep it until the
/// worker's answer has ended.
pub struct PickedWorker {
    worker: Arc<dyn WorkerRef>,
    _slot: Box<dyn Send + Sync>,
}

impl PickedWorker {
    /// Joins a worker and the guard of its slot.
    pub fn new(worker: Arc<dyn WorkerRef>, slot: impl Send + Sync + 'static) -> Self {
        Self { worker, _slot: Box::new(slot) }
    }

    /// The worker.
    pub fn worker(&self) -> &Arc<dyn WorkerRef> {
        &self.worker
    }

    /// Sends a request and gives the head of its answer, whose body holds the slot until it
    /// has ended or is dropped. Without this a slot is free too early where an answer
    /// streams on to a client after the handler has returned.
    pub async fn call(self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (head, body) = self.worker.call(request).await?.into_parts();
        let held = HeldBody { body, picked: Some(self) }.freed_if_whole();
        Ok(Response::from_parts(head, Body::stream(held)))
    }
}

/// An answer's body that holds its worker's slot.
struct HeldBody {
    body: Body,
    picked: Option<PickedWorker>,
}

impl HeldBody {
    /// Many readers don't ask once more when they know the end.
    fn freed_if_whole(mut self) -> Self {
        if self.body.is_end_stream() {
            self.picked = None;
        }
        self
    }
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.picked = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why no worker was picked. As an [`ApiError`](crate::ApiError) it is 404 or 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// No connected worker serves the label.
    #[error("no worker serves this label")]
    UnknownLabel,
    /// Workers serve it, but none has a free slot.
    #[error("every worker for this label is busy")]
    Busy,
}

/// A plugin's workers, for whoever takes one without knowing the plugin or its pool.
///
/// Implemented by plugins that have workers and given by
/// [`Plugin::workers`](crate::Plugin::workers); called by the server, once at start, which
/// lets clients and monitors ask whether a label would be served at this moment.
pub trait WorkerProvider: Send + Sync + 'static {
    /// The plugin's scheduler; the same pool at each call.
    fn scheduler(&self) -> Arc<dyn Scheduler>;
}

/// A model as clients list it (HTTP contract §4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// The name clients ask for.
    pub id: String,
    /// When this process first saw it, in Unix seconds.
    pub created: u64,
    /// The names of the workers that offer it, sorted.
    pub owners: Vec<String>,
}

/// What is known of a plugin's connected workers, at the moment of asking.
///
/// Implemented by `nfrx-pool`; called by handlers and by the state. Takes the pool's lock
/// for a moment. For LLMs a label is a model, for others whatever they advertise.
pub trait WorkerRegistry: Send + Sync + 'static {
    /// The workers that offer this label, by exact name.
    fn workers_for_label(&self, label: &str) -> Vec<Arc<dyn WorkerRef>>;

    /// How many requests are with this worker; 0 when it is not connected.
    fn in_flight(&self, worker_id: &str) -> u32;

    /// All models, sorted by id.
    fn aggregated_models(&self) -> Vec<ModelInfo>;

    /// One model by its exact name.
    fn aggregated_model(&self, id: &str) -> Option<ModelInfo>;

    /// Whether this worker is connected.
    fn has_worker(&self, worker_id: &str) -> bool;

    /// The models of one worker, sorted by id; empty when it is not connected.
    fn worker_models(&self, worker_id: &str) -> Vec<ModelInfo>;
}

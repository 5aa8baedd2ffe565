//! A request's body that streams in: it can be sent once, and its movement is a sign of
//! life of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError, Clock, Moment};

use crate::sync::Mutex;

/// Holds the body while no worker has it. A worker that gives up before its first byte
/// leaves it here, for another one.
pub(super) struct Once {
    upload: Arc<Upload>,
    clock: Arc<dyn Clock>,
}

/// What the holder and the worker's body share.
pub(super) struct Upload {
    unsent: Mutex<Option<Body>>,
    /// When a piece was taken last, in microseconds of the clock; 0 for not yet.
    moved: AtomicU64,
}

impl Once {
    pub(super) fn new(body: Body, clock: &Arc<dyn Clock>) -> Self {
        let upload = Upload { unsent: Mutex::new(Some(body)), moved: AtomicU64::new(0) };
        Self { upload: Arc::new(upload), clock: Arc::clone(clock) }
    }

    /// The body for a worker; empty when an earlier one has taken of it.
    pub(super) fn lend(&self) -> Body {
        let Some(body) = self.upload.unsent.lock().take() else { return Body::empty() };
        let (upload, clock) = (Arc::clone(&self.upload), Arc::clone(&self.clock));
        Body::stream(Lent { body: Some(body), untouched: true, upload, clock })
    }

    /// Whether nothing of it was sent, and no worker has it.
    pub(super) fn is_here(&self) -> bool {
        self.upload.unsent.lock().is_some()
    }

    /// What shows how the upload moves.
    pub(super) fn upload(&self) -> Arc<Upload> {
        Arc::clone(&self.upload)
    }
}

impl Upload {
    /// When a piece was taken last.
    pub(super) fn moved(&self) -> Moment {
        Moment::from_start(Duration::from_micros(self.moved.load(Ordering::Relaxed)))
    }

    fn note(&self, now: Moment) {
        let micros = now.since(Moment::default()).as_micros();
        self.moved.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The body as a worker has it.
struct Lent {
    body: Option<Body>,
    untouched: bool,
    upload: Arc<Upload>,
    clock: Arc<dyn Clock>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        self.untouched = false;
        self.upload.note(self.clock.now());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.untouched {
            *self.upload.unsent.lock() = self.body.take();
        }
    }
}

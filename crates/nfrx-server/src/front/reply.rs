//! The body of an answer, and what is held until its last byte was taken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError};
use tokio::time::Instant;
use tracing::{Span, debug};

use super::in_flight::Counted;
use crate::door::Busy;
use crate::traces::DoorSpan;

/// A body that is part of a connection's load and, for most routes, of the drain's.
pub(crate) struct Reply(Arc<Held>);

/// What an answer holds: its body, and with it a worker's slot. Shared with its
/// connection, since nobody polls the body of an HTTP/2 stream whose window is shut.
pub(crate) struct Held(Mutex<Inner>);

struct Inner {
    content: Option<Content>,
    /// Since when the reader has not come for more; `None` while it waits for us.
    untaken_since: Option<Instant>,
}

struct Content {
    body: Body,
    owned: Owned,
}

/// What an answer holds until its end.
pub(super) struct Owned {
    pub(super) _busy: Busy,
    pub(super) _counted: Option<Counted>,
    pub(super) _span: Option<DoorSpan>,
    /// For what is logged meanwhile.
    pub(super) log: Span,
}

impl Reply {
    pub(super) fn new(body: Body, owned: Owned) -> Self {
        let content = Some(Content { body, owned });
        Self(Arc::new(Held(Mutex::new(Inner { content, untaken_since: Some(Instant::now()) }))))
    }

    /// What its connection may let go of.
    pub(super) fn held(&self) -> &Arc<Held> {
        &self.0
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything go if the reader took nothing for that long. Tells whether it did.
    pub(crate) fn cut_if_untaken(&self, limit: Duration) -> bool {
        let mut inner = self.lock();
        let content = match inner.untaken_since {
            Some(since) if since.elapsed() >= limit => inner.content.take(),
            _ => None,
        };
        // Foreign code runs when a body is dropped.
        drop(inner);
        content.is_some()
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut inner = self.0.lock();
        let Some(content) = &mut inner.content else {
            return Poll::Ready(Some(Err(BodyError::ReaderStalled)));
        };
        let polled = {
            let _logs = content.owned.log.enter();
            let polled = Pin::new(&mut content.body).poll_frame(cx);
            if let Poll::Ready(Some(Err(error))) = &polled {
                // The connection or stream is aborted for it: a cut answer never looks whole.
                debug!(%error, "an answer broke off");
            }
            polled
        };
        inner.untaken_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().content.as_ref().is_some_and(|content| content.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().content.as_ref().map_or_else(SizeHint::default, |content| content.body.size_hint())
    }
}

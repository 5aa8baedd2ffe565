//! The body of an answer, and what is held until its last byte was taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use nfrx_spi::{Body, BodyError};
use tracing::debug;

use super::in_flight::Counted;
use crate::door::Busy;

/// A body that is part of a connection's load and, for most routes, of the drain's.
pub(crate) struct Reply {
    body: Body,
    _busy: Busy,
    _counted: Option<Counted>,
}

impl Reply {
    pub(super) fn new(body: Body, busy: Busy, counted: Option<Counted>) -> Self {
        Self { body, _busy: busy, _counted: counted }
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            // The connection or stream is aborted for it: a cut answer never looks whole.
            debug!(%error, "an answer broke off");
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

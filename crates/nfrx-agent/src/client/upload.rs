//! The request's body on its way to the backend.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use nfrx_spi::{Body, BodyError};
use tokio::time::Instant;

use super::ClientError;

/// When the upload moved last.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    moved_micros: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), moved_micros: AtomicU64::new(0) }
    }

    pub(crate) fn moved(&self) -> Instant {
        self.start + Duration::from_micros(self.moved_micros.load(Ordering::Relaxed))
    }

    fn note(&self) {
        // Five hundred thousand years fit.
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved_micros.store(micros, Ordering::Relaxed);
    }
}

/// A request's body held to its declared length: neither a byte more nor one less
/// reaches the backend as a whole body. Trailers stay behind.
pub(crate) struct Upload {
    body: Body,
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl Upload {
    pub(crate) fn new(
        body: Body,
        declared: Option<u64>,
        progress: &Arc<Progress>,
    ) -> Result<Self, ClientError> {
        let left = match (body.size_hint().exact(), declared) {
            (Some(exact), Some(declared)) if exact != declared => return Err(ClientError::Request),
            (exact, declared) => exact.or(declared),
        };
        Ok(Self { body, left, progress: Arc::clone(progress) })
    }

    fn count(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.progress.note();
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or(BodyError::Aborted)?;
        }
        Ok(())
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            return Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => Some(self.count(data.len() as u64).map(|()| Frame::data(data))),
                Some(Ok(Err(_trailers))) => continue,
                Some(Err(error)) => Some(Err(error)),
                // hyper takes the end of a body that is too short for a failure.
                None => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.left.unwrap_or(0) == 0
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

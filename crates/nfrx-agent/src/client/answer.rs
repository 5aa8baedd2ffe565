//! The answer's body, which drives its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use nfrx_spi::BodyError;

use super::idle::IdleTimer;
use super::live::Live;
use super::pool::Pool;
use super::upload::Progress;

/// A backend's answer as it streams. A whole one gives its connection back; dropping it
/// earlier closes the connection, so that the backend stops working.
///
/// It gives data only: a backend's trailers end here, as nothing a backend says may
/// look like a word between agent and relay (decision 4).
pub(crate) struct AnswerBody {
    live: Option<Box<Live>>,
    incoming: Incoming,
    timer: IdleTimer,
    progress: Arc<Progress>,
    pool: Arc<Pool>,
}

impl AnswerBody {
    pub(crate) fn new(
        live: Box<Live>,
        incoming: Incoming,
        timer: IdleTimer,
        progress: Arc<Progress>,
        pool: Arc<Pool>,
    ) -> Self {
        let mut body = Self { live: Some(live), incoming, timer, progress, pool };
        if body.incoming.is_end_stream() {
            body.keep();
        }
        body
    }

    fn keep(&mut self) {
        if let Some(live) = self.live.take() {
            self.pool.keep(live);
        }
    }

    /// What the connection has read, if anything. Only `Live::poll` puts something
    /// there, so that nobody needs to be woken by it.
    fn poll_incoming(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let quiet = &mut Context::from_waker(Waker::noop());
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(quiet));
            return Poll::Ready(match frame {
                Some(Ok(frame)) => match frame.data_ref() {
                    Some(data) if !data.is_empty() => {
                        self.timer.touch();
                        if self.incoming.is_end_stream() {
                            self.keep();
                        }
                        Some(Ok(frame))
                    }
                    _ => continue,
                },
                Some(Err(_broken)) => Some(Err(self.cut(BodyError::Upstream))),
                None => {
                    self.keep();
                    None
                }
            });
        }
    }

    fn cut(&mut self, error: BodyError) -> BodyError {
        self.live = None;
        error
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Asking first tells the connection that its next chunk is wanted.
        if let Poll::Ready(frame) = self.poll_incoming() {
            return Poll::Ready(frame);
        }
        let Some(live) = &mut self.live else { return Poll::Ready(None) };
        live.poll(cx);
        if let Poll::Ready(frame) = self.poll_incoming() {
            return Poll::Ready(frame);
        }
        let Self { timer, progress, .. } = &mut *self;
        if timer.poll_expired(progress, cx).is_ready() {
            return Poll::Ready(Some(Err(self.cut(BodyError::IdleTimeout))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

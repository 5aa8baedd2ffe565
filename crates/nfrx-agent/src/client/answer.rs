//! The answer's body, which drives its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use nfrx_spi::BodyError;

use super::idle::IdleTimer;
use super::live::Live;
use super::pool::Pool;
use super::upload::Progress;

/// Pieces up to this size are copied out of the buffer that they were read into. One that is kept,
/// were it for a moment, would cost a new buffer of 8 KiB for the next read.
const COPIED_BYTES_MAX: usize = 1024;

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
        let Self { live, incoming, timer, progress, .. } = &mut *self;
        let Some(driven) = live else { return Poll::Ready(None) };
        let Poll::Ready(frame) = driven.drive(cx, |cx| next_data(incoming, cx)) else {
            if timer.poll_expired(progress, cx).is_ready() {
                return Poll::Ready(Some(Err(self.cut(BodyError::IdleTimeout))));
            }
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(data)) => {
                timer.touch();
                if incoming.is_end_stream() {
                    self.keep();
                }
                Some(Ok(Frame::data(data)))
            }
            Some(Err(_broken)) => Some(Err(self.cut(BodyError::Upstream))),
            None => {
                self.keep();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.live.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The next bytes; neither empty chunks nor trailers.
fn next_data(incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
    loop {
        let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) if !data.is_empty() => return Poll::Ready(Some(Ok(detached(data)))),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

fn detached(data: Bytes) -> Bytes {
    if data.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&data) } else { data }
}

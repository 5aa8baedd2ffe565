//! The body of a request, within its bounds.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use nfrx_spi::{ApiError, BodyError};
use tokio::time::{Instant, Sleep};

use crate::door::ConnectionState;

/// Which bound a body hit, for the answer: its handler only sees that it broke off.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<FaultInner>);

#[derive(Default)]
struct FaultInner {
    kind: AtomicU8,
    bytes_max: std::sync::atomic::AtomicU64,
}

const TOO_LARGE: u8 = 1;
const SILENT: u8 = 2;

impl Fault {
    /// The error to answer with, if a bound was hit.
    pub(super) fn error(&self) -> Option<ApiError> {
        match self.0.kind.load(Ordering::Acquire) {
            TOO_LARGE => Some(ApiError::TooLarge { bytes_max: self.0.bytes_max.load(Ordering::Relaxed) }),
            SILENT => Some(ApiError::RequestTimeout),
            _ => None,
        }
    }

    fn too_large(&self, bytes_max: u64) -> BodyError {
        self.0.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.0.kind.store(TOO_LARGE, Ordering::Release);
        BodyError::TooLarge { bytes_max }
    }

    fn silent(&self) -> BodyError {
        self.0.kind.store(SILENT, Ordering::Release);
        BodyError::IdleTimeout
    }
}

/// A body that ends with an error once it is too long, or silent for too long.
pub(super) struct LimitedBody<B> {
    body: B,
    bytes: u64,
    bytes_max: u64,
    /// `None` for as long as it likes.
    silence_max: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    /// Whether the client is waited for; time in which nobody asks for more is no silence.
    waits: bool,
    ended: bool,
    fault: Fault,
    connection: Option<Arc<ConnectionState>>,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> LimitedBody<B> {
    pub(super) fn new(body: B, bytes_max: u64, silence_max: Option<Duration>, fault: Fault) -> Self {
        let (bytes, silence, waits, ended, connection) = (0, None, false, false, None);
        Self { body, bytes, bytes_max, silence_max, silence, waits, ended, fault, connection }
    }

    /// Tells this connection when the body was left unread.
    pub(super) fn on_connection(mut self, connection: Arc<ConnectionState>) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Waits for the next frame no longer than the limit; the timer exists only while
    /// there is something to wait for.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(silence_max) = self.silence_max else { return Poll::Pending };
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence_max)));
        if !std::mem::replace(&mut self.waits, true) {
            silence.as_mut().reset(Instant::now() + silence_max);
        }
        silence.as_mut().poll(cx)
    }
}

impl<B> http_body::Body for LimitedBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => {
                if this.poll_silence(cx).is_pending() {
                    return Poll::Pending;
                }
                return Poll::Ready(Some(Err(this.fault.silent())));
            }
            Poll::Ready(frame) => frame,
        };
        this.waits = false;
        let frame = match frame {
            None => {
                this.ended = true;
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(super::broken(&error)))),
            Some(Ok(frame)) => frame,
        };
        this.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        if this.bytes > this.bytes_max {
            return Poll::Ready(Some(Err(this.fault.too_large(this.bytes_max))));
        }
        this.ended = this.body.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for LimitedBody<B> {
    fn drop(&mut self) {
        if !self.ended
            && let Some(connection) = &self.connection
        {
            connection.linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives a byte, and a moment after it was asked for another one.
    struct Answering {
        asked: Option<Pin<Box<Sleep>>>,
    }

    impl http_body::Body for Answering {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let asked = || Box::pin(tokio::time::sleep(Duration::from_millis(1)));
            std::task::ready!(self.asked.get_or_insert_with(asked).as_mut().poll(cx));
            self.asked = None;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    // Seen to fail: when the time runs from the last byte instead of the first wait after it.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_nobody_asked_for_more_was_not_silent() {
        let silence_max = Duration::from_secs(30);
        let body = Answering { asked: None };
        let mut body = LimitedBody::new(body, 1000, Some(silence_max), Fault::default());
        for _ in 0..3 {
            body.frame().await.expect("more").expect("within the limit");
            // What takes the body, such as a busy backend, takes its time.
            tokio::time::sleep(2 * silence_max).await;
        }
    }
}

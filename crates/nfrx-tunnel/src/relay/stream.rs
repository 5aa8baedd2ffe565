//! An answer's bytes between the tunnel and whoever reads them.
//!
//! The tunnel's task reads each stream at once, so that HTTP/2 never holds small frames
//! and one slow reader delays nobody. What the reader has not taken is kept here, merged;
//! the window is given back only for what was taken, so it bounds this buffer.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use nfrx_spi::BodyError;
use tokio::time::Instant;

use crate::budget::ByteBudget;

/// Taken bytes are given back to the sender in portions of this size.
const RELEASE_BYTES: usize = 64 * 1024;

/// Shared by the pump, which fills it, and the body, which empties it.
#[derive(Debug)]
pub(crate) struct Buffer {
    state: Mutex<State>,
    budget: Arc<ByteBudget>,
    budget_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// A piece that the reader was there for: handed on as it came.
    piece: Bytes,
    /// What came while the reader was behind. Merged, since a small piece would keep the
    /// whole read buffer alive that it was cut from.
    backlog: BytesMut,
    /// Taken by the reader, not yet given back to the sender.
    taken: usize,
    /// Since when something waits for the reader.
    waits_since: Option<Instant>,
    end: Option<End>,
    /// What the agent said at the end, for whoever asked.
    trailers: Option<HeaderMap>,
    abandoned: bool,
    reader: Option<Waker>,
    pump: Option<Waker>,
}

/// The right to fill a buffer. Dropped before the end it breaks the answer off: no reader
/// waits for what nobody sends any more.
pub(crate) struct Filling(Arc<Buffer>);

impl Filling {
    pub(crate) fn new(buffer: &Arc<Buffer>) -> Self {
        Self(Arc::clone(buffer))
    }
}

impl Deref for Filling {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.0
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.end(End::Broken(BodyError::Aborted));
    }
}

/// How a stream ended.
#[derive(Debug)]
pub(crate) enum End {
    Whole,
    Broken(BodyError),
}

impl Buffer {
    /// An empty buffer, whose bytes count in `budget`, which holds at most so many.
    pub(crate) fn new(budget: Arc<ByteBudget>, budget_bytes_max: usize) -> Self {
        Self { state: Mutex::default(), budget, budget_bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece from the tunnel. If that would be too much over all tunnels the stream
    /// is cut; tells whether it goes on.
    pub(crate) fn push(&self, bytes: Bytes) -> bool {
        let mut state = self.lock();
        if !self.budget.claim(bytes.len(), self.budget_bytes_max) {
            self.cut(&mut state, BodyError::Aborted);
            return false;
        }
        if state.piece.is_empty() && state.backlog.is_empty() {
            state.piece = bytes;
            state.waits_since = Some(Instant::now());
        } else {
            let State { piece, backlog, .. } = &mut *state;
            if !piece.is_empty() {
                backlog.extend_from_slice(piece);
                *piece = Bytes::new();
            }
            backlog.extend_from_slice(&bytes);
        }
        state.wake_reader();
        true
    }

    /// How many bytes the reader has not taken.
    pub(crate) fn unread(&self) -> usize {
        self.lock().unread()
    }

    /// Notes what the agent said at the end; to be given before the end.
    pub(crate) fn note_trailers(&self, trailers: Option<HeaderMap>) {
        self.lock().trailers = trailers;
    }

    /// Ends the stream; only the first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            state.wake_reader();
        }
    }

    /// For the pump: how many bytes may be given back, or `None` once the reader is gone
    /// or the stream was ended from outside. Notes whom to wake when that changes.
    pub(crate) fn poll_taken(&self, waker: &Waker) -> Option<usize> {
        let mut state = self.lock();
        if state.abandoned || state.end.is_some() {
            return None;
        }
        match &mut state.pump {
            Some(noted) => noted.clone_from(waker),
            None => state.pump = Some(waker.clone()),
        }
        Some(std::mem::take(&mut state.taken))
    }

    /// Cuts the stream if its reader took nothing for that long. Tells whether it did.
    pub(crate) fn cut_if_stalled(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        // Also after the end: unread bytes are kept for nobody.
        let stalled = state.waits_since.is_some_and(|since| since.elapsed() >= limit);
        if stalled {
            self.cut(&mut state, BodyError::ReaderStalled);
            state.wake_pump();
        }
        stalled
    }

    /// Ends the stream and forgets what is unread: the room is needed.
    fn cut(&self, state: &mut State, error: BodyError) {
        state.end = Some(End::Broken(error));
        state.waits_since = None;
        self.budget.release(state.unread());
        state.piece = Bytes::new();
        state.backlog = BytesMut::new();
        state.wake_reader();
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let unread = self.lock().unread();
        self.budget.release(unread);
    }
}

impl State {
    fn unread(&self) -> usize {
        self.piece.len() + self.backlog.len()
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_pump(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = if !self.piece.is_empty() {
            std::mem::take(&mut self.piece)
        } else if !self.backlog.is_empty() {
            self.backlog.split().freeze()
        } else {
            return None;
        };
        self.waits_since = None;
        self.taken += bytes.len();
        if self.taken >= RELEASE_BYTES {
            self.wake_pump();
        }
        Some(bytes)
    }
}

/// The body of an answer. Dropping it before its end resets the stream.
#[derive(Debug)]
pub(crate) struct StreamBody(Arc<Buffer>);

impl StreamBody {
    pub(crate) fn new(buffer: Arc<Buffer>) -> Self {
        Self(buffer)
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.0.lock();
        if let Some(bytes) = state.take() {
            self.0.budget.release(bytes.len());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match state.end.take() {
            Some(End::Broken(error)) => {
                state.end = Some(End::Whole);
                Poll::Ready(Some(Err(error)))
            }
            Some(End::Whole) => {
                state.end = Some(End::Whole);
                Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            None => {
                match &mut state.reader {
                    Some(noted) => noted.clone_from(cx.waker()),
                    None => state.reader = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        state.piece.is_empty()
            && state.backlog.is_empty()
            && state.trailers.is_none()
            && matches!(state.end, Some(End::Whole))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.wake_pump();
    }
}

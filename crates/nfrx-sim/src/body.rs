//! Bodies of answers: whole, torn in the middle, or streamed token by token.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::record::Work;
use crate::request::Plan;
use crate::text::Words;

/// Room for the frames of some tokens, taken at once.
const BUFFER_BYTES: usize = 4096;

/// Room for a sequence number and what follows it.
const NUMBER_BYTES_MAX: usize = 32;

/// The simulated backend hangs up here, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("simulated death")]
pub(crate) struct Cut;

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The body of an answer. Dropped before its end, it counts its work as cancelled.
#[derive(Debug)]
pub(crate) struct SimBody {
    source: Source,
    work: Option<Work>,
}

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// All of it at once.
    Whole(Bytes),
    /// Promises the length of it all, gives the first half, then hangs up.
    Torn { first: Bytes, length: u64, rest: Death },
    /// Server-sent events, one per frame.
    Stream(Box<TokenStream>),
}

impl Source {
    pub(crate) fn torn(mut whole: Bytes) -> Self {
        let length = whole.len() as u64;
        whole.truncate(whole.len() / 2);
        Self::Torn { first: whole, length, rest: Death::default() }
    }
}

impl SimBody {
    /// `work` is held until the last byte is handed over.
    pub(crate) fn new(source: Source, work: Option<Work>) -> Self {
        Self { source, work }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let body = &mut *self;
        let next = match &mut body.source {
            Source::Whole(bytes) if bytes.is_empty() => None,
            Source::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Source::Torn { first, .. } if !first.is_empty() => Some(Ok(std::mem::take(first))),
            Source::Torn { rest, .. } => Some(Err(ready!(rest.poll(cx)))),
            Source::Stream(stream) => ready!(stream.poll_next(cx)),
        };
        if next.as_ref().is_some_and(Result::is_err) {
            body.work.take().into_iter().for_each(Work::cut);
        } else if body.is_end_stream() {
            // With the last frame, not after it: nobody polls a body that said it ended.
            body.work.take().into_iter().for_each(Work::finish);
        }
        Poll::Ready(next.map(|frame| frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Torn { .. } => false,
            Source::Stream(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Torn { length, .. } => SizeHint::with_exact(*length),
            Source::Stream(_) => SizeHint::default(),
        }
    }
}

/// Hangs up, but one turn later: an error makes the connection forget what it has not
/// written yet, so it is given the chance to write.
#[derive(Debug, Default)]
pub(crate) struct Death {
    turn_given: bool,
}

impl Death {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        if std::mem::replace(&mut self.turn_given, true) {
            return Poll::Ready(Cut);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The constant parts of a stream, rendered once.
pub(crate) struct Frames {
    /// Before the first token, one frame each.
    pub(crate) opening: Vec<Bytes>,
    /// Around each token.
    pub(crate) head: Bytes,
    pub(crate) tail: Bytes,
    /// The number that follows the first token's tail (and then counts up), and what
    /// follows that number.
    pub(crate) numbered: Option<(u64, &'static str)>,
    /// After the last token, one frame each; never empty.
    pub(crate) closing: Vec<Bytes>,
}

/// The frames of one streamed answer, each when it is due.
pub(crate) struct TokenStream {
    opening: vec::IntoIter<Bytes>,
    closing: vec::IntoIter<Bytes>,
    head: Bytes,
    tail: Bytes,
    numbered: Option<(u64, &'static str)>,
    plan: Plan,
    words: Words,
    sent: u32,
    /// Whether what was sent before the next token has been given a turn to be written.
    turn_given: bool,
    buffer: BytesMut,
    sleep: Option<Pin<Box<Sleep>>>,
    death: Death,
}

impl TokenStream {
    pub(crate) fn new(frames: Frames, plan: Plan, words: Words) -> Self {
        Self {
            opening: frames.opening.into_iter(),
            closing: frames.closing.into_iter(),
            head: frames.head,
            tail: frames.tail,
            numbered: frames.numbered,
            plan,
            words,
            sent: 0,
            turn_given: false,
            buffer: BytesMut::new(),
            sleep: None,
            death: Death::default(),
        }
    }

    fn is_end(&self) -> bool {
        self.closing.as_slice().is_empty()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if let Some(frame) = self.opening.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.plan.stall_after == Some(self.sent) {
            return Poll::Pending;
        }
        if self.plan.die_after == Some(self.sent) {
            return self.death.poll(cx).map(|cut| Some(Err(cut)));
        }
        if self.sent == self.plan.tokens {
            return Poll::Ready(self.closing.next().map(Ok));
        }
        ready!(self.poll_due(cx));
        if self.plan.flush {
            ready!(self.poll_turn(cx));
        }
        let frame = self.render_token();
        self.sent += 1;
        Poll::Ready(Some(Ok(frame)))
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.plan.pace.due(self.sent) else { return Poll::Ready(()) };
        if due <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }

    /// Pending once per token: a connection writes what it has when its body has nothing more.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn_given = !self.turn_given;
        if self.turn_given {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn render_token(&mut self) -> Bytes {
        let frame_bytes_max =
            self.head.len() + self.words.token_bytes_max() + self.tail.len() + NUMBER_BYTES_MAX;
        if self.buffer.capacity() < frame_bytes_max {
            self.buffer.reserve(frame_bytes_max.max(BUFFER_BYTES));
        }
        self.buffer.put_slice(&self.head);
        self.words.write_next(&mut self.buffer);
        self.buffer.put_slice(&self.tail);
        if let Some((number, after)) = &mut self.numbered {
            self.buffer.put_slice(number.to_string().as_bytes());
            self.buffer.put_slice(after.as_bytes());
            *number += 1;
        }
        self.buffer.split().freeze()
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream")
            .field("plan", &self.plan)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

//! An answer's body on its way to the client: bytes as they come, comments where nothing
//! comes, and what is held until the end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use nfrx_spi::{Body, BodyError, BoxFuture};
use tokio::time::{Instant, Sleep};

use super::agent::Place;
use super::failure::broken_code;
use super::running::Record;
use crate::events::{Boundary, COMMENT};

/// How long a stream of events is silent before the relay says that it is there.
pub(super) const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// What is held until the end. The order is that of dropping: the agent's body first, which
/// cancels the request there, then its record, then the place.
struct Held {
    body: Body,
    record: Record,
    _place: Place,
}

/// The body.
pub(super) struct Answer {
    held: Option<Held>,
    events: Option<Events>,
    idle: Option<Idle>,
    /// Ends a stream without an end of its own, between two events.
    ending: Option<BoxFuture<'static, ()>>,
}

/// What an answer is made of.
pub(super) struct Parts {
    /// The agent's body.
    pub(super) body: Body,
    /// The call's record; its head was noted.
    pub(super) record: Record,
    /// The call's place at the agent.
    pub(super) place: Place,
    /// Whether it is a stream of events that takes comments.
    pub(super) is_events: bool,
    /// The longest silence; `None` for no limit.
    pub(super) idle_max: Option<Duration>,
    /// When to end a stream that has no end of its own.
    pub(super) ending: Option<BoxFuture<'static, ()>>,
}

impl Answer {
    /// The body for the client.
    pub(super) fn body(parts: Parts) -> Body {
        let Parts { body, record, place, is_events, idle_max, ending } = parts;
        let mut answer = Self {
            held: Some(Held { body, record, _place: place }),
            events: is_events.then(Events::new),
            idle: idle_max.map(Idle::new),
            ending,
        };
        answer.end_if_whole();
        // Nobody reads a body that is known to be empty, so its end is here.
        if answer.held.is_none() { Body::empty() } else { Body::stream(answer) }
    }

    /// Ends without waiting for the reader to ask once more: many don't.
    fn end_if_whole(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.body.is_end_stream()) {
            self.end("");
        }
    }

    fn end(&mut self, error: &'static str) {
        if let Some(Held { body, mut record, .. }) = self.held.take() {
            drop(body);
            record.end(error);
        }
    }

    fn passed(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return };
        if let Some(held) = &mut self.held {
            held.record.bytes();
        }
        if let Some(events) = &mut self.events {
            events.passed(data);
        }
        if let Some(idle) = &mut self.idle {
            idle.moved = Instant::now();
        }
        self.end_if_whole();
    }

    /// Nothing comes from the agent: what there is to say or do meanwhile.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let is_between = self.events.as_ref().is_none_or(|events| events.boundary.is_between());
        if is_between && self.ending.as_mut().is_some_and(|ending| ending.as_mut().poll(cx).is_ready()) {
            self.end("");
            return Poll::Ready(None);
        }
        if self.idle.as_mut().is_some_and(|idle| idle.poll_over(cx).is_ready()) {
            self.end(broken_code(&BodyError::IdleTimeout));
            return Poll::Ready(Some(Err(BodyError::IdleTimeout)));
        }
        match &mut self.events {
            Some(events) => {
                events.poll_comment(cx).map(|()| Some(Ok(Frame::data(Bytes::from_static(COMMENT)))))
            }
            None => Poll::Pending,
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(held) = &mut self.held else { return Poll::Ready(None) };
        match Pin::new(&mut held.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.passed(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(broken_code(&error));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.end("");
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_silence(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.held {
            None => SizeHint::with_exact(0),
            Some(_) if self.events.is_some() => SizeHint::default(),
            Some(held) => held.body.size_hint(),
        }
    }
}

/// A stream of events and when something was last said in it.
struct Events {
    boundary: Boundary,
    /// When the next comment is due.
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Events {
    /// The first comment is due at once: proxies hold an answer's head back until something
    /// follows it.
    fn new() -> Self {
        let due = Instant::now();
        Self { boundary: Boundary::new(), due, timer: Box::pin(tokio::time::sleep_until(due)) }
    }

    fn passed(&mut self, data: &[u8]) {
        self.boundary.feed(data);
        self.due = Instant::now() + COMMENT_EVERY;
    }

    /// Ready when a comment is due and may be said. What comes moves only `due`: the timer
    /// is moved when it fires.
    fn poll_comment(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if Instant::now() >= self.due && self.boundary.is_between() {
                self.due = Instant::now() + COMMENT_EVERY;
                return Poll::Ready(());
            }
            // In the midst of an event only the event's end can change anything, and that is
            // bytes that come.
            if Instant::now() >= self.due {
                return Poll::Pending;
            }
            if self.timer.deadline() != self.due {
                self.timer.as_mut().reset(self.due);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
        }
    }
}

/// The limit of silence.
struct Idle {
    limit: Duration,
    moved: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, moved: Instant::now(), timer: None }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.moved + self.limit;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            std::task::ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

//! The answer of a stream that has to wait: queue events while it does, then the
//! worker's bytes.
//!
//! The first event commits the status to 200, so a later failure is told as an event of
//! its own, well-formed, whatever it was (KD-7).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Limited};
use nfrx_pool::{Admission, Dispatch, DispatchError, Queued, Sent};
use nfrx_spi::{ApiError, Body, BodyError, BoxFuture};

use super::generate::{complete, note};
use super::{Service, queue_event};

/// How much of an upstream's error body is passed on inside an event.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The body of such an answer.
pub(super) struct QueuedAnswer {
    service: Arc<Service>,
    model: String,
    /// Names the request in its events.
    request_id: String,
    phase: Phase,
    ready: VecDeque<Bytes>,
}

enum Phase {
    Waiting {
        dispatch: Box<Dispatch>,
        queued: Queued,
        next_event: Option<BoxFuture<'static, ()>>,
    },
    Sending(BoxFuture<'static, (Box<Dispatch>, Result<Sent, DispatchError>)>),
    Streaming(Body),
    /// The worker answered with an error status; its body is read for the event.
    Failing(BoxFuture<'static, Bytes>),
    Over,
}

impl QueuedAnswer {
    /// For a request that has just joined the queue.
    pub(super) fn new(service: Arc<Service>, dispatch: Dispatch, queued: Queued, model: &str) -> Self {
        let mut answer = Self {
            service,
            model: model.to_owned(),
            request_id: uuid_v4(fastrand::u128(..)),
            phase: Phase::Over,
            ready: VecDeque::new(),
        };
        answer.wait(Box::new(dispatch), queued);
        answer
    }

    /// The whole answer.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::stream(self));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        complete(response)
    }

    fn wait(&mut self, dispatch: Box<Dispatch>, queued: Queued) {
        let next_event = self.announce(&queued);
        self.phase = Phase::Waiting { dispatch, queued, next_event };
    }

    /// Tells the place in the queue, and says when to tell it again.
    fn announce(&mut self, queued: &Queued) -> Option<BoxFuture<'static, ()>> {
        if let Some(position) = queued.position() {
            self.ready.push_back(queue_event::position(&self.request_id, &self.model, position));
        }
        self.service.options.queue_update.map(|span| self.service.clock.sleep(span))
    }

    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(queue_event::error(error));
        self.phase = Phase::Over;
    }

    /// Takes a slot, or waits on: the request is tried (again).
    fn admit(&mut self, mut dispatch: Box<Dispatch>) {
        match dispatch.admit() {
            Ok(Admission::Slot(slot)) => self.phase = send(dispatch, slot),
            Ok(Admission::Queued(queued)) => self.wait(dispatch, queued),
            Err(error) => self.fail(&note(error)),
        }
    }

    /// Moves on as far as possible; `Ready` when there is something to give, or nothing
    /// more to come.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(());
            }
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Waiting { dispatch, queued, next_event } => {
                    ready!(self.poll_waiting(cx, dispatch, queued, next_event));
                }
                Phase::Sending(mut sending) => match sending.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.phase = Phase::Sending(sending);
                        return Poll::Pending;
                    }
                    Poll::Ready((dispatch, sent)) => self.sent(dispatch, sent),
                },
                Phase::Failing(mut failing) => match failing.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.phase = Phase::Failing(failing);
                        return Poll::Pending;
                    }
                    Poll::Ready(event) => self.ready.push_back(event),
                },
                phase @ (Phase::Streaming(_) | Phase::Over) => {
                    self.phase = phase;
                    return Poll::Ready(());
                }
            }
        }
    }

    fn poll_waiting(
        &mut self,
        cx: &mut Context<'_>,
        mut dispatch: Box<Dispatch>,
        mut queued: Queued,
        mut next_event: Option<BoxFuture<'static, ()>>,
    ) -> Poll<()> {
        if let Poll::Ready(slot) = Pin::new(&mut queued).poll(cx) {
            match dispatch.leave_queue(slot) {
                Ok(slot) => self.phase = send(dispatch, slot),
                Err(error) => self.fail(&error.into()),
            }
            return Poll::Ready(());
        }
        let due = next_event.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if due {
            next_event = self.announce(&queued);
        }
        self.phase = Phase::Waiting { dispatch, queued, next_event };
        if due { Poll::Ready(()) } else { Poll::Pending }
    }

    fn sent(&mut self, dispatch: Box<Dispatch>, sent: Result<Sent, DispatchError>) {
        match sent {
            Ok(Sent::Again) => self.admit(dispatch),
            Ok(Sent::Answer(answer)) if answer.status().as_u16() < 400 => {
                self.phase = Phase::Streaming(answer.into_body());
            }
            Ok(Sent::Answer(answer)) => self.phase = Phase::Failing(Box::pin(upstream_error(answer))),
            Err(error) => self.fail(&note(error)),
        }
    }
}

fn send(mut dispatch: Box<Dispatch>, slot: nfrx_pool::Slot) -> Phase {
    Phase::Sending(Box::pin(async move {
        let sent = dispatch.send(slot).await;
        (dispatch, sent)
    }))
}

/// The event that tells of an upstream's error status.
async fn upstream_error(answer: Response<Body>) -> Bytes {
    let status: StatusCode = answer.status();
    match Limited::new(answer.into_body(), ERROR_BYTES_MAX).collect().await {
        Ok(body) => queue_event::upstream_error(status.as_u16(), &body.to_bytes()),
        Err(_) => queue_event::upstream_error(status.as_u16(), b""),
    }
}

impl http_body::Body for QueuedAnswer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.advance(cx));
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        match &mut self.phase {
            Phase::Streaming(body) => Pin::new(body).poll_frame(cx),
            _ => Poll::Ready(None),
        }
    }
}

/// RFC 9562 §5.4.
fn uuid_v4(random: u128) -> String {
    let bits = random & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(uuid_v4(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_v4(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}

//! An answer's body on its way to the client: holds the slot, watches the silence.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use nfrx_spi::{Body, BodyError};

use super::error::{body_code, status_code};
use super::idle::IdleWatch;
use super::record::Record;
use crate::slot::Slot;

/// What is held until the end. The order is that of dropping: the worker's body first,
/// which cancels the request there, then its record, then the slot.
struct Held {
    body: Body,
    record: Box<Record>,
    slot: Slot,
    idle: IdleWatch,
    status: StatusCode,
}

/// The body of a worker's answer. The slot is free the moment it ends or is dropped.
pub(super) struct Answer {
    held: Option<Held>,
}

impl Answer {
    pub(super) fn wrap(
        response: Response<Body>,
        slot: Slot,
        idle: IdleWatch,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        record.head(&head);
        if record.is_traced() {
            // Who knows the length asks no more once it has it, and never hears the trailers.
            head.headers.remove(http::header::CONTENT_LENGTH);
        }
        let mut answer = Self { held: Some(Held { body, record, slot, idle, status: head.status }) };
        answer.end_if_whole();
        match answer.held {
            // Nobody reads a body that is known to be empty, so its end is here.
            None => Response::from_parts(head, Body::empty()),
            Some(_) => Response::from_parts(head, Body::stream(answer)),
        }
    }

    /// Ends without waiting for the reader to ask once more: many don't.
    fn end_if_whole(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.body.is_end_stream()) {
            self.end_whole();
        }
    }

    fn end_whole(&mut self) {
        if let Some(Held { body, mut record, slot, status, .. }) = self.held.take() {
            drop(body);
            record.end(Some(status_code(status)));
            drop(slot);
        }
    }

    fn break_off(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(Held { body, mut record, slot, .. }) = self.held.take() {
            drop(body);
            record.end(body_code(&error));
            drop(slot);
        }
        Poll::Ready(Some(Err(error)))
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
            // Trailers are between agent and relay, and the last that comes.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                if let Some(trailers) = frame.trailers_ref() {
                    held.record.trailers(trailers);
                }
                self.end_whole();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                held.idle.heard();
                if let Some(bytes) = frame.data_ref() {
                    held.record.data(bytes);
                }
                self.end_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.break_off(error),
            Poll::Ready(None) => {
                self.end_whole();
                Poll::Ready(None)
            }
            Poll::Pending => match held.idle.poll_over(cx) {
                Poll::Ready(()) => self.break_off(BodyError::IdleTimeout),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.held.as_ref().map_or(SizeHint::with_exact(0), |held| held.body.size_hint())
    }
}

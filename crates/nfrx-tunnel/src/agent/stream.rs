//! One request in the tunnel, from the agent's side.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body as _, Frame};
use nfrx_spi::{Body, BodyError, CallError};
use tracing::Instrument as _;

use super::AgentService;
use crate::headers;
use crate::turn::Turn;

/// Pieces that are ready together leave together, up to this size.
const MERGED_BYTES: usize = 64 * 1024;

/// Carries one request to the service and its answer back. A reset by the relay drops
/// both at once, in whatever phase.
pub(super) async fn serve(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    service: Arc<dyn AgentService>,
    turn: Turn,
) {
    let span = headers::request_span(request.headers());
    carry(request, respond, service, turn).instrument(span).await;
}

async fn carry(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: Arc<dyn AgentService>,
    turn: Turn,
) {
    let request = request.map(|stream| match stream.is_end_stream() {
        true => Body::empty(),
        false => Body::stream(Upload { stream, taken: 0 }),
    });
    let result = tokio::select! {
        biased;
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
        result = service.call(request) => result,
    };
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            return refuse(respond, error);
        }
    };
    let (mut parts, body) = response.into_parts();
    headers::strip_connection_headers(&mut parts.headers);
    headers::spare_table(&mut parts.headers);
    parts.version = Version::HTTP_2;
    let whole = body.is_end_stream();
    let Ok(stream) = respond.send_response(Response::from_parts(parts, ()), whole) else { return };
    if !whole {
        let ready = Ready::default();
        let mut download = Download { body, stream, turn, ready, trailers: None, end: None };
        poll_fn(|cx| download.poll(cx)).await;
    }
}

/// Answers with a failure, which the relay finds in the head.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, error: CallError) {
    // Fails only if the relay wants no answer any more.
    let _ = respond.send_response(headers::failure(error), true);
}

/// A request's body as it comes out of the tunnel.
struct Upload {
    stream: RecvStream,
    taken: usize,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            // The service has come back for more, so it is done with the last piece.
            let _ = self.stream.flow_control().release_capacity(taken);
        }
        Poll::Ready(match ready!(self.stream.poll_data(cx)) {
            Some(Ok(bytes)) => {
                self.taken = bytes.len();
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(_)) => Some(Err(BodyError::Aborted)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// An answer's body on its way into the tunnel.
struct Download {
    body: Body,
    stream: SendStream<Bytes>,
    turn: Turn,
    ready: Ready,
    /// What the service says at the end.
    trailers: Option<HeaderMap>,
    end: Option<Result<(), BodyError>>,
}

impl Download {
    /// `Ready` when all is sent, or nobody wants it any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nobody is to be woken yet: a stream that knows whom to tell of a reset also tells of room,
        // such as that which is reserved just below.
        if self.poll_unwanted(&mut Context::from_waker(Waker::noop())).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let gathered = self.gather(cx);
            if self.ready.is_empty() {
                return match self.end.take() {
                    Some(end) => {
                        self.finish(end);
                        Poll::Ready(())
                    }
                    None => self.poll_unwanted(cx),
                };
            }
            // HTTP/2 sends a frame of each stream in turn, and a piece is a frame. No more is reserved
            // than is sent: of room that is left over nobody is told again.
            self.stream.reserve_capacity(self.ready.len().min(self.turn.bytes()));
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(room)) => {
                    let piece = self.ready.take(room);
                    let is_over = matches!(self.end, Some(Ok(()))) && self.trailers.is_none();
                    let last = self.ready.is_empty() && is_over;
                    if self.stream.send_data(piece, last).is_err() || last {
                        return Poll::Ready(());
                    }
                    // To ask the service once more would be another round through its connection.
                    if self.ready.is_empty() && gathered.is_pending() {
                        return self.poll_unwanted(cx);
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    }

    /// Waits for a reset.
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }

    /// Takes what the backend has sent by now: while the stream is blocked, small pieces
    /// become one. `Pending` when that was all, and the end is still to come.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.ready.len() < MERGED_BYTES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    match frame.into_data() {
                        Ok(data) => self.ready.push(data),
                        Err(other) => self.trailers = other.trailers_ref().and_then(headers::timings_in),
                    }
                    if self.body.is_end_stream() {
                        self.end = Some(Ok(()));
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Ends the stream: a broken answer never looks whole.
    fn finish(&mut self, end: Result<(), BodyError>) {
        let sent = match (end, self.trailers.take()) {
            (Ok(()), Some(trailers)) => self.stream.send_trailers(trailers),
            (Ok(()), None) => self.stream.send_data(Bytes::new(), true),
            (Err(error), _) => self.stream.send_trailers(headers::break_off(&error)),
        };
        if sent.is_err() {
            self.stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }
}

/// Bytes that wait to be sent: one piece as it came, or several merged.
#[derive(Debug, Default)]
struct Ready {
    piece: Bytes,
    merged: BytesMut,
}

impl Ready {
    fn len(&self) -> usize {
        self.piece.len() + self.merged.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, data: Bytes) {
        if self.is_empty() {
            self.piece = data;
        } else {
            if !self.piece.is_empty() {
                self.merged.extend_from_slice(&std::mem::take(&mut self.piece));
            }
            self.merged.extend_from_slice(&data);
        }
    }

    fn take(&mut self, room: usize) -> Bytes {
        if self.piece.is_empty() {
            self.merged.split_to(room.min(self.merged.len())).freeze()
        } else {
            self.piece.split_to(room.min(self.piece.len()))
        }
    }
}

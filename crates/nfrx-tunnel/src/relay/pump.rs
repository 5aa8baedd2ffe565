//! One request in the tunnel, from the relay's side: its body goes out, its answer comes
//! in. Runs inside the tunnel's task; dropping it resets the stream.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response, Uri, Version, uri};
use http_body::Body as _;
use nfrx_spi::{Body, BodyError, CallError, TIMINGS, TimingsWanted};
use tokio::sync::oneshot;

use super::Parts;
use super::stream::{Buffer, End, Filling, StreamBody};
use crate::control::RESERVED_PATH;
use crate::counters::{Counted, TunnelCounters};
use crate::headers;

/// A request on its way into the tunnel.
pub(super) struct Call {
    pub(super) request: Request<Body>,
    pub(super) answer: oneshot::Sender<Result<Response<Body>, CallError>>,
}

/// Carries one request. `opened` is told of the buffer of its answer.
pub(super) async fn pump(
    parts: Arc<Parts>,
    send: SendRequest<Bytes>,
    Call { request, mut answer }: Call,
    opened: impl FnOnce(Weak<Buffer>),
) {
    let counters = &parts.counters;
    let _open = Counted::new(counters, |counters| &counters.streams_open);
    let exchange = async {
        let mut send = send.ready().await.map_err(|_| CallError::Lost)?;
        let (request, body) = prepare(request)?;
        let whole = body.is_end_stream();
        let (response, upload) = send.send_request(request, whole).map_err(|_| CallError::Lost)?;
        let mut upload = Upload::new(body, upload, whole, Arc::clone(counters));
        let mut response = std::pin::pin!(response);
        let head = poll_fn(|cx| {
            if let Poll::Ready(result) = response.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(|error| call_error(&error)));
            }
            match upload.poll(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            }
        })
        .await?;
        Ok((head, upload))
    };
    // A caller that left takes the stream with it, whatever it waits for.
    let (head, upload) = tokio::select! {
        biased;
        () = answer.closed() => {
            counters.resets.inc();
            return;
        }
        result = exchange => match result {
            Ok(opened) => opened,
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        },
    };
    let (mut head, stream) = head.into_parts();
    if let Some(error) = headers::failure_in(&head.headers) {
        let _ = answer.send(Err(error));
        return;
    }
    headers::strip_connection_headers(&mut head.headers);
    head.version = Version::HTTP_11;
    if stream.is_end_stream() {
        let _ = answer.send(Ok(Response::from_parts(head, Body::empty())));
        return;
    }
    let buffer = Arc::new(Buffer::new(Arc::clone(&parts.unread), parts.settings.unread_bytes_max));
    opened(Arc::downgrade(&buffer));
    let filling = Filling::new(&buffer);
    let body = Body::stream(StreamBody::new(buffer));
    if answer.send(Ok(Response::from_parts(head, body))).is_ok() {
        read(stream, upload, &filling, counters).await;
    }
}

/// The request as it crosses: a fixed authority, no header of a connection.
fn prepare(request: Request<Body>) -> Result<(Request<()>, Body), CallError> {
    let (mut parts, body) = request.into_parts();
    if parts.uri.path().starts_with(RESERVED_PATH) {
        return Err(CallError::Refused);
    }
    headers::strip_connection_headers(&mut parts.headers);
    parts.headers.remove(http::header::HOST);
    headers::spare_table(&mut parts.headers);
    if parts.extensions.get::<TimingsWanted>().is_some() {
        parts.headers.insert(TIMINGS, http::HeaderValue::from_static("1"));
    }
    // Where the length is known the agent is told, and so the backend: some take no chunks.
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    parts.version = Version::HTTP_2;
    let mut address = uri::Parts::default();
    address.scheme = Some(uri::Scheme::HTTP);
    address.authority = Some(uri::Authority::from_static("worker"));
    address.path_and_query = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from_parts(address).map_err(|_| CallError::Refused)?;
    Ok((Request::from_parts(parts, ()), body))
}

fn call_error(error: &h2::Error) -> CallError {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => CallError::Busy,
        _ if error.is_reset() => CallError::Upstream,
        _ => CallError::Lost,
    }
}

/// Reads the answer to its end, as fast as it comes, while the upload goes on.
async fn read(mut stream: RecvStream, mut upload: Upload, buffer: &Buffer, counters: &TunnelCounters) {
    let end = poll_fn(|cx| {
        let _ = upload.poll(cx);
        let Some(taken) = buffer.poll_taken(cx.waker()) else { return Poll::Ready(None) };
        if taken > 0 {
            // Fails only when the stream is over, which the reading below finds out.
            let _ = stream.flow_control().release_capacity(taken);
        }
        loop {
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Ok(bytes))) => {
                    counters.bytes_in.add(bytes.len() as u64);
                    if !buffer.push(bytes) {
                        counters.over_budget.inc();
                        return Poll::Ready(None);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(End::Broken(body_error(&error)))),
                Poll::Ready(None) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.poll_trailers(cx).map(|trailers| {
            Some(match trailers {
                Ok(trailers) => match trailers.as_ref().and_then(headers::break_off_in) {
                    Some(error) => End::Broken(error),
                    None => {
                        buffer.note_trailers(trailers.as_ref().and_then(headers::timings_in));
                        End::Whole
                    }
                },
                Err(error) => End::Broken(body_error(&error)),
            })
        })
    })
    .await;
    match end {
        Some(end) => buffer.end(end),
        // Nobody wants the rest: dropping the stream resets it.
        None => counters.resets.inc(),
    }
}

fn body_error(error: &h2::Error) -> BodyError {
    if error.is_reset() && error.is_remote() { BodyError::Upstream } else { BodyError::Aborted }
}

/// A request's body on its way out.
struct Upload {
    body: Option<Body>,
    stream: SendStream<Bytes>,
    waiting: Bytes,
    counters: Arc<TunnelCounters>,
}

impl Upload {
    fn new(body: Body, mut stream: SendStream<Bytes>, whole: bool, counters: Arc<TunnelCounters>) -> Self {
        let mut body = (!whole).then_some(body);
        // Bytes that are at hand are h2's to send as the window allows: they leave in one
        // write with the head.
        if let Some(bytes) = body.as_ref().and_then(Body::as_bytes) {
            body = None;
            counters.bytes_out.add(bytes.len() as u64);
            // Fails only when the stream is over, which the answer shows.
            let _ = stream.send_data(bytes, true);
        }
        Self { body, stream, waiting: Bytes::new(), counters }
    }

    /// Sends as much as the agent takes; `Ready` when all is sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        while let Some(body) = &mut self.body {
            if self.waiting.is_empty() {
                match std::task::ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            self.waiting = data;
                        }
                        if self.body.as_ref().is_some_and(|body| body.is_end_stream())
                            && self.waiting.is_empty()
                        {
                            return self.finish();
                        }
                        continue;
                    }
                    Some(Err(_)) => {
                        self.body = None;
                        self.stream.send_reset(h2::Reason::CANCEL);
                        return Poll::Ready(Err(CallError::RequestBody));
                    }
                    None => return self.finish(),
                }
            }
            self.stream.reserve_capacity(self.waiting.len());
            match std::task::ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(room)) => {
                    let piece = self.waiting.split_to(room.min(self.waiting.len()));
                    self.counters.bytes_out.add(piece.len() as u64);
                    let last = self.waiting.is_empty() && body.is_end_stream();
                    if self.stream.send_data(piece, last).is_err() || last {
                        self.body = None;
                    }
                }
                // The agent wants no more of it; its answer says why.
                Some(Err(_)) | None => self.body = None,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Poll<Result<(), CallError>> {
        self.body = None;
        // An empty last frame is the only way to end a stream whose end came late.
        let _ = self.stream.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}

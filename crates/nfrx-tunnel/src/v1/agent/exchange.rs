//! One request: asked of the service, its answer cut into messages.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use nfrx_spi::{Body, BodyError, CallError};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::super::CHUNK_BYTES;
use super::super::frame::{self, FrameError, Outgoing, RequestFrame, to_map};
use crate::agent::AgentService;
use crate::headers;

/// A message of an answer.
pub(super) struct Answer {
    pub(super) id: Arc<str>,
    pub(super) text: String,
    /// Nothing more comes.
    pub(super) last: bool,
}

/// The request in a message; `None` when it is none that HTTP knows, or its head is too large.
pub(in crate::v1) fn request(frame: RequestFrame<'_>) -> Option<Request<Body>> {
    let body = frame::bytes(&frame.body)?;
    let mut headers = frame::from_map(frame.headers)?;
    headers::strip_connection_headers(&mut headers);
    let mut request =
        Request::builder().method(&*frame.method).uri(&*frame.path).body(Body::from(body)).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// Carries one request. Dropping it drops what the service does.
pub(super) async fn exchange(
    service: Arc<dyn AgentService>,
    request: Request<Body>,
    id: Arc<str>,
    outbox: mpsc::Sender<Answer>,
) {
    let span = headers::request_span(request.headers());
    let carrying = async {
        match service.call(request).await {
            Ok(response) => answer(response, &id, &outbox).await,
            Err(error) => refuse(error, id, outbox).await,
        }
    };
    carrying.instrument(span).await;
}

/// Says why there is no answer, as old servers read it: an answer, and an end with an
/// error. Nothing of it names an address (KD-24).
pub(super) async fn refuse(error: CallError, id: Arc<str>, outbox: mpsc::Sender<Answer>) {
    let status = match error {
        CallError::Draining | CallError::Busy => 503,
        CallError::Timeout => 504,
        _ => 502,
    };
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
    let head = Outgoing::HttpProxyResponseHeaders { request_id: &id, status, headers }.text();
    if !say(&outbox, &id, head, false).await {
        return;
    }
    // A server that can send it elsewhere does so only while there is no body.
    let message = match error {
        CallError::Draining => "worker is draining",
        CallError::Busy => "worker is busy",
        other => {
            let code = if other == CallError::Timeout { "timeout" } else { "upstream_error" };
            let body = format!("{{\"error\":\"{code}\"}}");
            if !say(&outbox, &id, frame::chunk(&id, body.as_bytes()), false).await {
                return;
            }
            "the backend gave no answer"
        }
    };
    end(&outbox, &id, Some((error.code(), message))).await;
}

async fn answer(response: Response<Body>, id: &Arc<str>, outbox: &mpsc::Sender<Answer>) {
    let (mut head, mut body) = response.into_parts();
    headers::strip_connection_headers(&mut head.headers);
    let (status, headers) = (head.status.as_u16(), to_map(&head.headers));
    let text = Outgoing::HttpProxyResponseHeaders { request_id: id, status, headers }.text();
    if !say(outbox, id, text, false).await {
        return;
    }
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return end(outbox, id, None).await,
            Some(Err(error)) => {
                let code = if matches!(error, BodyError::IdleTimeout) { "timeout" } else { "upstream_error" };
                return end(outbox, id, Some((code, "the backend's answer broke off"))).await;
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                for piece in data.chunks(CHUNK_BYTES) {
                    if !say(outbox, id, frame::chunk(id, piece), false).await {
                        return;
                    }
                }
            }
        }
    }
}

async fn end(outbox: &mpsc::Sender<Answer>, id: &Arc<str>, error: Option<(&str, &str)>) {
    let error =
        error.map(|(code, message)| FrameError { code: code.to_owned(), message: message.to_owned() });
    let text = Outgoing::HttpProxyResponseEnd { request_id: id, error }.text();
    say(outbox, id, text, true).await;
}

/// Waits for a place in the outbox: that is what holds a backend back. `false` when the
/// tunnel is over.
async fn say(outbox: &mpsc::Sender<Answer>, id: &Arc<str>, text: String, last: bool) -> bool {
    outbox.send(Answer { id: Arc::clone(id), text, last }).await.is_ok()
}

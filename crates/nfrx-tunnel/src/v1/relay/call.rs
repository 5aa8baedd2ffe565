//! A request on its way into a v1 tunnel: gathered into one message by whoever asks, so
//! that the tunnel's task never waits for a client.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use nfrx_spi::{Body, BodyError, BoxFuture, CallError, CloseReason, Moment, Tunnel};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::super::frame::{Outgoing, RequestHead, to_map};
use super::super::{NAME, REQUEST_BYTES_MAX};
use crate::budget::UnsentBytes;
use crate::control::RESERVED_PATH;
use crate::headers;
use crate::relay::{Orders, Parts, Pulse};

/// A request that is ready to be sent.
pub(super) struct Call {
    pub(super) id: Arc<str>,
    pub(super) message: Message,
    pub(super) answer: oneshot::Sender<Result<Response<Body>, CallError>>,
}

/// Requests whose callers left, for the tunnel's task to cancel. Each request is named at
/// most once, so that the list is as short as the requests are few.
#[derive(Default)]
pub(super) struct Gone {
    state: Mutex<(Vec<Arc<str>>, Option<Waker>)>,
}

impl Gone {
    /// Those who left since; notes whom to wake when more do.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Vec<Arc<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.1 {
            Some(noted) => noted.clone_from(cx.waker()),
            None => state.1 = Some(cx.waker().clone()),
        }
        std::mem::take(&mut state.0)
    }

    fn add(&self, id: &Arc<str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push(Arc::clone(id));
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// Whoever wants an answer holds this; dropping it cancels the request.
struct Wanted {
    id: Arc<str>,
    gone: Arc<Gone>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.gone.add(&self.id);
    }
}

/// An answer's body that cancels its request when it is dropped.
struct WantedBody {
    body: Body,
    _wanted: Wanted,
}

impl http_body::Body for WantedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A tunnel as the pool sees it.
pub(super) struct Handle {
    pub(super) inbox: mpsc::Sender<Call>,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) gone: Arc<Gone>,
    pub(super) parts: Arc<Parts>,
}

impl Tunnel for Handle {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let (inbox, gone, parts) = (self.inbox.clone(), Arc::clone(&self.gone), Arc::clone(&self.parts));
        Box::pin(async move {
            // Random, not secret: an id counts only in its own tunnel.
            let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
            let message = gather(request, id, &parts).await?;
            let id: Arc<str> = id.to_string().into();
            let (answer, answered) = oneshot::channel();
            inbox.send(Call { id: Arc::clone(&id), message, answer }).await.map_err(|_| CallError::Lost)?;
            let wanted = Wanted { id, gone };
            let response = answered.await.unwrap_or(Err(CallError::Lost))?;
            Ok(response.map(|body| match body.is_end_stream() {
                true => body,
                false => Body::stream(WantedBody { body, _wanted: wanted }),
            }))
        })
    }

    fn last_seen(&self) -> Moment {
        self.pulse.seen()
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }

    fn carrier(&self) -> &'static str {
        NAME
    }

    fn drain(&self) {
        self.orders.send_modify(|orders| orders.drain = true);
    }

    fn close(&self, reason: CloseReason) {
        self.orders.send_modify(|orders| orders.close = orders.close.or(Some(reason)));
    }
}

/// The text of a request, whose bytes count in the budget of all requests under way.
pub(super) struct Message {
    text: String,
    claimed: usize,
    budget: Arc<UnsentBytes>,
    budget_bytes_max: usize,
}

impl Message {
    fn new(text: String, parts: &Parts) -> Self {
        let (budget, budget_bytes_max) = (Arc::clone(&parts.unsent), parts.settings.unread_bytes_max);
        Self { text, claimed: 0, budget, budget_bytes_max }
    }

    /// Appends bytes in base64, a multiple of three except for the last.
    fn append(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let before = self.text.len();
        STANDARD.encode_string(bytes, &mut self.text);
        let more = self.text.len() - before;
        if !self.budget.0.claim(more, self.budget_bytes_max) {
            return Err(CallError::Busy);
        }
        self.claimed += more;
        Ok(())
    }

    /// The text, which is the library's to send from here on.
    pub(super) fn into_text(mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.budget.0.release(self.claimed);
    }
}

/// Gathers a request into its message.
async fn gather(request: Request<Body>, id: Uuid, parts: &Parts) -> Result<Message, CallError> {
    let (mut head, mut body) = request.into_parts();
    if head.uri.path().starts_with(RESERVED_PATH) {
        return Err(CallError::Refused);
    }
    let stream = head.headers.contains_key(&headers::STREAM_HINT);
    headers::strip_connection_headers(&mut head.headers);
    head.headers.remove(http::header::HOST);
    // The length is that of the body in the message.
    head.headers.remove(http::header::CONTENT_LENGTH);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let text = opening(&id.to_string(), head.method.as_str(), path, &head.headers, stream);
    let mut message = Message::new(text, parts);
    let (mut carried, mut size) = (Vec::with_capacity(3), 0_usize);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| CallError::RequestBody)?.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if size == 0 {
            message.text.push_str(",\"body\":\"");
        }
        size += data.len();
        if size > REQUEST_BYTES_MAX {
            return Err(CallError::TooLarge { bytes_max: REQUEST_BYTES_MAX as u64 });
        }
        append(&mut message, &mut carried, &data)?;
    }
    message.append(&carried)?;
    message.text.push_str(if size == 0 { "}" } else { "\"}" });
    parts.counters.bytes_out.add(size as u64);
    Ok(message)
}

/// Base64 goes by threes: what is left over waits for what comes next.
fn append(message: &mut Message, carried: &mut Vec<u8>, mut data: &[u8]) -> Result<(), CallError> {
    if !carried.is_empty() {
        let missing = (3 - carried.len()).min(data.len());
        carried.extend_from_slice(&data[..missing]);
        data = &data[missing..];
        if carried.len() < 3 {
            return Ok(());
        }
        message.append(carried)?;
        carried.clear();
    }
    let whole = data.len() - data.len() % 3;
    message.append(&data[..whole])?;
    carried.extend_from_slice(&data[whole..]);
    Ok(())
}

/// The message up to where its body goes.
pub(in crate::v1) fn opening(
    id: &str,
    method: &str,
    path: &str,
    headers: &HeaderMap,
    stream: bool,
) -> String {
    let head = RequestHead { request_id: id, method, path, headers: to_map(headers), stream };
    let mut text = Outgoing::HttpProxyRequest(head).text();
    text.pop();
    text
}

//! The proxy: a request from the tunnel becomes a request to the backend.
//!
//! Each request is judged by the allow-list, waits for its place under the ceiling, and
//! is then passed on byte for byte. The relay learns a code when something goes wrong;
//! the text, which may name addresses, stays with the agent (KD-24).

mod allow;
mod ceiling;
mod headers;
mod timing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as _, Frame, SizeHint};
use nfrx_runtime::DrainWatch;
use nfrx_spi::{Body, BodyError, BoxFuture, CallError, TIMINGS};
use nfrx_tunnel::AgentService;
use tracing::debug;

pub use allow::{AllowList, is_plain_path};
pub use ceiling::Ceiling;

use ceiling::CeilingGuard;
use timing::Timing;

use crate::BackendKey;
use crate::client::{AnswerBody, BackendClient, ClientError};
use crate::jobs::JobGuard;
use crate::status::StatusBoard;

/// Fronts one backend. Clones share everything.
#[derive(Clone)]
pub struct BackendProxy {
    shared: Arc<ProxyParts>,
}

/// What a proxy is made of.
pub struct ProxyParts {
    /// Speaks to the backend.
    pub client: BackendClient,
    /// The backend's key, if it wants one.
    pub key: Option<BackendKey>,
    /// What may pass.
    pub allowed: AllowList,
    /// How many requests may be at the backend.
    pub ceiling: Ceiling,
    /// Where running requests and the last error are noted.
    pub status: StatusBoard,
    /// Once it drains, new requests are refused so that the relay sends them elsewhere.
    pub drain: DrainWatch,
}

impl BackendProxy {
    /// A proxy of its parts.
    pub fn new(parts: ProxyParts) -> Self {
        Self { shared: Arc::new(parts) }
    }
}

impl AgentService for BackendProxy {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.serve(request).await })
    }
}

impl ProxyParts {
    async fn serve(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        if self.drain.is_draining() {
            return Err(CallError::Draining);
        }
        if !self.allowed.allows(request.method(), request.uri()) {
            debug!(method = %request.method(), path = request.uri().path(), "request refused by the allow-list");
            return Err(CallError::Refused);
        }
        let mut timing = request.headers().contains_key(TIMINGS).then(Timing::start);
        let slot = self.ceiling.enter().await.ok_or(CallError::Busy)?;
        let mut job = self.status.job();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(self.client.base().join(path)).map_err(|_| CallError::Refused)?;
        headers::to_backend(request.headers_mut(), self.key.as_ref().map(BackendKey::header));
        timing.iter_mut().for_each(Timing::asked);
        match self.client.send(request).await {
            Ok(answer) => {
                timing.iter_mut().for_each(Timing::answered);
                Ok(passed_on(answer, slot, job, timing))
            }
            Err(error) => {
                let error = self.failed(&error);
                if error != CallError::RequestBody {
                    job.ended(false);
                }
                Err(error)
            }
        }
    }

    fn failed(&self, error: &ClientError) -> CallError {
        let call_error = error.call_error();
        debug!(code = call_error.code(), error = %error, "request to the backend failed");
        if call_error != CallError::RequestBody {
            self.status.update(|status| status.last_error = error.to_string());
        }
        call_error
    }
}

fn passed_on(
    answer: Response<AnswerBody>,
    slot: CeilingGuard,
    mut job: JobGuard,
    timing: Option<Timing>,
) -> Response<Body> {
    let (mut parts, answer) = answer.into_parts();
    headers::to_relay(&mut parts.headers);
    parts.extensions.clear();
    let well = !parts.status.is_server_error();
    let body = if answer.is_end_stream() {
        job.ended(well);
        Body::empty()
    } else {
        Body::stream(Guarded { answer, well, held: Some((slot, job)), timing })
    };
    Response::from_parts(parts, body)
}

/// An answer that holds its place under the ceiling until it ends. The connection is
/// the first to go, so that the backend has let go of the request when another enters.
struct Guarded {
    answer: AnswerBody,
    /// Whether it succeeded, if it ends whole.
    well: bool,
    held: Option<(CeilingGuard, JobGuard)>,
    /// What is still to be said at the end, to who asked for it.
    timing: Option<Timing>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.answer.is_end_stream() {
            true => None,
            false => std::task::ready!(Pin::new(&mut self.answer).poll_frame(cx)),
        };
        let broken = matches!(frame, Some(Err(_)));
        if (broken || frame.is_none() || self.answer.is_end_stream())
            && let Some((_slot, mut job)) = self.held.take()
        {
            job.ended(self.well && !broken);
        }
        if frame.is_none() {
            return Poll::Ready(self.timing.take().map(|timing| Ok(Frame::trailers(timing.trailers()))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream() && self.timing.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

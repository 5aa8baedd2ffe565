//! A server that speaks Streamable HTTP: requests are passed on as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri, request};
use nfrx_agent::client::{BackendClient, ClientError, Silence};
use nfrx_spi::{Body, BoxFuture, CallError};
use tracing::{debug, warn};

use super::endpoint::Endpoint;
use super::headers;
use super::kept::Kept;
use super::upstream::Upstream;

/// Redirects of one request that are followed.
const REDIRECTS_MAX: u32 = 3;

/// How a server is asked.
#[derive(Debug, Clone)]
pub(super) struct HttpSettings {
    /// How long an answer's head may take; `None` for no limit. A GET has none: its head may
    /// come with the first message.
    pub(super) head_max: Option<Duration>,
    /// Whether it may stream its answers.
    pub(super) allow_streaming: bool,
    /// Whether it gets the caller's own `Authorization`.
    pub(super) pass_authorization: bool,
    /// What each request says besides, in place of what the client says.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// One server. Clones share it.
#[derive(Clone)]
pub(super) struct HttpUpstream {
    shared: Arc<Shared>,
}

struct Shared {
    client: BackendClient,
    endpoint: Endpoint,
    settings: HttpSettings,
    redirect_told: AtomicBool,
}

impl HttpUpstream {
    /// The server at `endpoint`, whose origin `client` speaks to.
    pub(super) fn new(client: BackendClient, endpoint: Endpoint, settings: HttpSettings) -> Self {
        let redirect_told = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { client, endpoint, settings, redirect_told }) }
    }
}

impl Upstream for HttpUpstream {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.serve(request).await })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let shared = &self.shared;
            shared.client.reach().await.map_err(|error| format!("{}: {error}", shared.endpoint))
        })
    }
}

impl Shared {
    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (mut parts, body) = request.into_parts();
        let HttpSettings { pass_authorization, allow_streaming, .. } = self.settings;
        headers::to_server(&mut parts.headers, pass_authorization, allow_streaming);
        for (name, value) in &self.settings.headers {
            parts.headers.insert(name, value.clone());
        }
        let mut target = self.endpoint.target(parts.uri.path(), parts.uri.query());
        let (mut body, kept) = Kept::of(body);
        for _ in 0..=REDIRECTS_MAX {
            let mut answer = self.ask(&parts, &target, body).await.map_err(|error| failed(&error))?;
            let Some(next) = self.redirect(&answer, &target) else {
                headers::to_relay(answer.headers_mut());
                return Ok(answer);
            };
            let Some(again) = kept.again() else {
                warn!(server = %self.endpoint, "a request is too long to follow a redirect with it");
                return Err(CallError::Upstream);
            };
            (target, body) = (next, again);
        }
        warn!(server = %self.endpoint, "the server redirects in a circle");
        Err(CallError::Upstream)
    }

    async fn ask(
        &self,
        parts: &request::Parts,
        target: &str,
        body: Body,
    ) -> Result<Response<Body>, ClientError> {
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = Uri::try_from(target).map_err(|_| ClientError::Request)?;
        *request.headers_mut() = parts.headers.clone();
        let head = self.settings.head_max.filter(|_| parts.method != Method::GET);
        self.client.ask(request, Silence { head, body: None }).await
    }

    /// Where a request is to be sent instead, with its method and body: 307 and 308 within
    /// the same server, and nothing else (KD-150).
    fn redirect(&self, answer: &Response<Body>, target: &str) -> Option<String> {
        if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return None;
        }
        let next = self.endpoint.redirected(target, answer.headers().get(LOCATION)?.to_str().ok()?)?;
        if !self.redirect_told.swap(true, Ordering::Relaxed) {
            let better = next.split('?').next().unwrap_or_default();
            warn!(
                server = %self.endpoint,
                better = %format_args!("{}{better}", self.endpoint.base()),
                "the server redirects every request: set PROVIDER_URL to the better address"
            );
        }
        Some(next)
    }
}

fn failed(error: &ClientError) -> CallError {
    let call_error = error.call_error();
    debug!(code = call_error.code(), %error, "a request to the MCP server failed");
    call_error
}

//! A server that speaks Streamable HTTP: requests are passed on as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri, request};
use nfrx_agent::client::{BackendClient, ClientError, Silence};
use nfrx_spi::{Body, BoxFuture, CallError};
use tracing::{debug, warn};

use super::endpoint::Endpoint;
use super::headers;
use super::kept::Kept;
use super::oauth::Tokens;
use super::upstream::Upstream;

/// Redirects of one request that are followed.
const REDIRECTS_MAX: u32 = 3;

/// How a server is asked.
#[derive(Clone)]
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
    /// The agent's own tokens towards it.
    pub(super) tokens: Option<Tokens>,
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

impl HttpUpstream {
    /// Where it is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Asks the server for this target in the agent's own name.
    pub(super) async fn exchange(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.headers_mut()) = (method, headers);
        let (mut parts, body) = request.into_parts();
        self.shared.add_own(&mut parts.headers);
        self.shared.send(parts, target, body).await
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
            if let Some(tokens) = &shared.settings.tokens {
                tokens.get().await.map_err(|error| error.to_string())?;
            }
            shared.client.reach().await.map_err(|error| format!("{}: {error}", shared.endpoint))
        })
    }
}

impl Shared {
    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (mut parts, body) = request.into_parts();
        let HttpSettings { pass_authorization, allow_streaming, .. } = self.settings;
        headers::to_server(&mut parts.headers, pass_authorization, allow_streaming);
        self.add_own(&mut parts.headers);
        let target = self.endpoint.target(parts.uri.path(), parts.uri.query());
        let mut answer = self.send(parts, &target, body).await?;
        headers::to_relay(answer.headers_mut());
        Ok(answer)
    }

    fn add_own(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Sends a request, with the agent's own token if it has one. A token that is refused is
    /// replaced once, if the same request can be made again: the server has done nothing for
    /// it. Else the refusal is the answer.
    async fn send(
        &self,
        mut parts: request::Parts,
        target: &str,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        let (body, kept) = Kept::of(body);
        let Some(tokens) = &self.settings.tokens else {
            return self.follow(&parts, target, body, &kept).await;
        };
        let mut token = tokens.get().await.map_err(|error| error.call_error())?;
        parts.headers.insert(AUTHORIZATION, token.bearer.clone());
        let mut answer = self.follow(&parts, target, body, &kept).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        tokens.refused(&token).await;
        if let Some(again) = kept.again().filter(|_| !token.is_new)
            && let Ok(newer) = tokens.get().await
        {
            debug!(server = %self.endpoint, "the server refused a token, trying a newer one");
            token = newer;
            parts.headers.insert(AUTHORIZATION, token.bearer.clone());
            answer = self.follow(&parts, target, again, &kept).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                tokens.refused(&token).await;
            }
        }
        if answer.status() == StatusCode::UNAUTHORIZED {
            warn!(server = %self.endpoint, "the server refuses the agent's token: are MCP_OAUTH_SCOPES right?");
        }
        Ok(answer)
    }

    /// Asks, and asks where the server says to ask instead.
    async fn follow(
        &self,
        parts: &request::Parts,
        target: &str,
        mut body: Body,
        kept: &Kept,
    ) -> Result<Response<Body>, CallError> {
        let mut target = target.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(parts, &target, body).await.map_err(|error| failed(&error))?;
            let Some(next) = self.redirect(&answer, &target) else { return Ok(answer) };
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

//! One request on its way to a server and back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri, request, response};
use nfrx_spi::{ApiError, Body, BodyError, CallError, HandlerResult, Login, RequestContext, ServerState};

use super::agent::{Place, Sort};
use super::answer::{self, Answer};
use super::asked::{Asked, Looked, session};
use super::failure::Failure;
use super::metadata::Metadata;
use super::registry::{Found, Owner, Registry, Seat};
use super::running::{Board, Facts, Record};
use super::{headers, login};
use crate::offer::tunnel_path;

/// What the handlers share.
pub(super) struct Service {
    pub(super) registry: Arc<Registry>,
    pub(super) board: Arc<Board>,
    pub(super) state: Arc<dyn ServerState>,
    pub(super) metadata: Metadata,
    pub(super) limits: Limits,
    /// Whether everybody may come in.
    pub(super) public: bool,
}

/// How long things may take; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a request waits for an agent that is away.
    pub(super) agent_wait: Duration,
    /// How long an answer's head may take.
    pub(super) head_max: Option<Duration>,
    /// The longest silence within an answer's body.
    pub(super) idle_max: Option<Duration>,
}

/// The head of a server's answer, fit for the client, and what its body is.
struct Passed {
    head: response::Parts,
    body: Body,
    place: Place,
}

impl Service {
    /// Answers one request, from its head to the head of its answer.
    pub(super) async fn relay(
        self: Arc<Self>,
        request: Request<Body>,
        context: RequestContext,
    ) -> HandlerResult {
        let (parts, body) = request.into_parts();
        let asked = Asked::of(&parts, &context);
        if let Some(refused) = self.refusal(&asked, &parts, &context) {
            return refused;
        }
        let looked = match Looked::at(&asked, body).await {
            Ok(looked) => looked,
            Err(BodyError::TooLarge { bytes_max }) => return Err(ApiError::TooLarge { bytes_max }),
            Err(_) => return Ok(Failure::Body.response(&asked.form())),
        };
        let mut record = self.board.begin(facts(&asked, &looked, &context));
        let (form, sort) = (looked.form.clone(), looked.sort);
        let passed = self.pass(&asked, parts, looked, &context, &mut record).await;
        let Passed { head, body, place } = match passed {
            Ok(passed) => passed,
            Err(failure) => {
                record.head(failure.status());
                record.end(failure.code());
                return Ok(failure.response(&form));
            }
        };
        record.head(head.status);
        let lasts = sort == Sort::Stream;
        let body = Answer::body(answer::Parts {
            body,
            record,
            place,
            is_events: headers::is_open_event_stream(&head.headers),
            idle_max: self.limits.idle_max.filter(|_| !lasts),
            ending: lasts.then(|| self.state.draining()),
        });
        Ok(Response::from_parts(head, body))
    }

    /// What is judged before the body is looked at. A stranger learns nothing of ids.
    fn refusal(
        &self,
        asked: &Asked,
        parts: &request::Parts,
        context: &RequestContext,
    ) -> Option<HandlerResult> {
        let Some(login) = parts.extensions.get::<Login>() else { return Some(Err(ApiError::Internal)) };
        let token = self.registry.token(&asked.id);
        if let Err(refusal) = login::judge(login, self.public, token.as_ref(), &parts.headers) {
            return Some(Ok(refusal.response(self.metadata.url(&asked.id).as_deref())));
        }
        if !context.caller.scopes.allows_worker(&asked.id) {
            return Some(Err(ApiError::Forbidden("this key may not reach this MCP server".to_owned())));
        }
        let owner = Owner(context.caller.key.clone());
        match self.registry.find(&asked.id, asked.session, &owner) {
            Found::Unknown if asked.session.is_none() => Some(Ok(Failure::Unknown.response(&asked.form()))),
            Found::Foreign => Some(Ok(Failure::Foreign.response(&asked.form()))),
            Found::Seat(_) | Found::Away | Found::Unknown => None,
        }
    }

    /// Sends the request to its server. It is sent once: whatever an agent has had the first
    /// byte of may have had an effect.
    async fn pass(
        &self,
        asked: &Asked,
        parts: request::Parts,
        looked: Looked,
        context: &RequestContext,
        record: &mut Record,
    ) -> Result<Passed, Failure> {
        let owner = Owner(context.caller.key.clone());
        let wait = self.limits.agent_wait;
        let seat = match self.registry.wait_for(&asked.id, asked.session, &owner, wait).await {
            Found::Seat(seat) => seat,
            Found::Away | Found::Unknown => return Err(Failure::Away),
            Found::Foreign => return Err(Failure::Foreign),
        };
        if !asked.below.is_empty() && !seat.server.below {
            return Err(Failure::NoPath);
        }
        let place = seat.agent.enter(looked.sort).ok_or(Failure::Busy)?;
        let from_page = headers::is_from_page(&parts.headers);
        let call = request_for(&seat, asked, parts, looked.body, context)?;
        record.started();
        let head_max = self.limits.head_max.filter(|_| asked.method != Method::GET);
        let mut answer = within(head_max, seat.agent.tunnel.call(call)).await?;
        // An old agent's tunnel says so when it can't carry something.
        if let Some(failure) = answer.extensions_mut().remove::<Failure>() {
            return Err(failure);
        }
        let (mut head, body) = answer.into_parts();
        self.note_session(asked, &seat, &head, owner);
        headers::to_client(&mut head.headers, from_page);
        if head.status == StatusCode::UNAUTHORIZED {
            let ours = self.metadata.url(&asked.id).filter(|_| seat.server.pass_authorization);
            headers::rewrite_challenges(&mut head.headers, ours.as_deref());
        }
        Ok(Passed { head, body, place })
    }

    /// Learns where a session lives, and that it is over.
    fn note_session(&self, asked: &Asked, seat: &Seat, head: &response::Parts, owner: Owner) {
        match asked.session {
            None if asked.method == Method::POST => {
                if let Some(opened) = session(&head.headers) {
                    self.registry.opened_session(seat, opened, owner);
                }
            }
            Some(session)
                if head.status == StatusCode::NOT_FOUND
                    || (asked.method == Method::DELETE && head.status.is_success()) =>
            {
                self.registry.ended_session(&asked.id, session);
            }
            _ => {}
        }
    }
}

/// A call's answer, if its head comes in time.
async fn within(
    limit: Option<Duration>,
    call: impl Future<Output = Result<Response<Body>, CallError>>,
) -> Result<Response<Body>, Failure> {
    let answered = match limit {
        None => call.await,
        Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or(Err(CallError::Timeout)),
    };
    answered.map_err(|error| {
        tracing::warn!(%error, "an MCP call failed at its agent");
        Failure::of_call(error)
    })
}

/// The request as the agent gets it.
fn request_for(
    seat: &Seat,
    asked: &Asked,
    parts: request::Parts,
    body: Body,
    context: &RequestContext,
) -> Result<Request<Body>, Failure> {
    let query = parts.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let path = format!("{}{}{query}", tunnel_path(&asked.id), asked.below);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::try_from(path).map_err(|_| Failure::NoPath)?;
    *request.headers_mut() = parts.headers;
    let caller = context.caller.key.as_deref();
    headers::to_server(request.headers_mut(), seat.server.pass_authorization, &context.id, caller);
    Ok(request)
}

fn facts(asked: &Asked, looked: &Looked, context: &RequestContext) -> Facts {
    Facts {
        request_id: context.id.as_str().to_owned(),
        who: context.caller.key.clone(),
        server: asked.id.clone(),
        method: looked.method.clone(),
        tool: looked.tool.clone(),
    }
}

impl Service {
    /// Describes a server as RFC 9728 has it. Ids that nobody serves are described alike, so
    /// that a stranger learns nothing of ids.
    pub(super) async fn describe(self: Arc<Self>, context: RequestContext) -> HandlerResult {
        self.metadata.describe(context.params.get("id"), None)
    }
}

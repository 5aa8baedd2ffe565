//! The front door of a request: id, limits, origin, route, drain, gate, handler, and
//! the same way back. Every listener has one.
//!
//! The order is that of the HTTP contract §1.1: a draining server says so before it
//! looks at keys, and a preflight never reaches either.

mod action;
mod body;
mod cors;
mod dialect;
mod head;
mod in_flight;
mod kept;
mod origin;
mod reply;
mod request_id;
mod upgrade;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use nfrx_runtime::DrainWatch;
use nfrx_spi::{
    Access, ApiError, Body, BodyError, Caller, Dialect, Login, LoginRefused, RequestContext, RequestId,
    Route, Upgrade,
};
use tokio::time::Instant;
use tracing::{Instrument as _, debug, error, info, info_span};

use crate::config::{Limits, ServerConfig};
use crate::door::{Busy, ConnectionState};
use crate::gate::{Gate, Peer, Proxies, shows_credential};
use crate::routes::{Found, Table};
use crate::telemetry::{Bound, Telemetry};
use crate::traces::Tracer;
use action::Action;
use body::{Fault, LimitedBody};
use cors::Cors;
use origin::Origins;
use request_id::RequestIds;

pub(crate) use in_flight::InFlight;
use reply::Owned;
pub(crate) use reply::{Held, Reply};
pub(crate) use upgrade::{TakeUpgrade, take_upgrade};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What requests of a listener pass.
pub(crate) struct Front {
    table: Table,
    shared: Arc<Shared>,
}

/// What all listeners of a server share.
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    pub(crate) proxies: Proxies,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) limits: Limits,
    tracer: Option<Tracer>,
    cors: Option<Cors>,
    origins: Origins,
    ids: RequestIds,
    drain: DrainWatch,
}

impl Shared {
    pub(crate) fn new(
        config: &ServerConfig,
        gate: Gate,
        telemetry: Arc<Telemetry>,
        tracer: Option<Tracer>,
        drain: DrainWatch,
    ) -> Self {
        Self {
            gate,
            proxies: Proxies::new(&config.login.trusted_proxies, &config.origin),
            in_flight: Arc::default(),
            telemetry,
            limits: config.limits.clone(),
            tracer,
            cors: Cors::new(&config.origin.allowed_origins),
            origins: Origins::new(&config.origin),
            ids: RequestIds::new(),
            drain,
        }
    }
}

impl Shared {
    /// Of a connection that an agent wants to keep: it takes a place among those of its key
    /// and learns of the key's end. Without a named key there is nothing to take.
    fn keep(&self, caller: &Caller, parts: &mut request::Parts) -> Result<(), ApiError> {
        let Some(key) = &caller.key else { return Ok(()) };
        let Some(upgrade) = parts.extensions.remove::<Upgrade>() else { return Ok(()) };
        let (place, revocation) = self.gate.keep(key)?;
        parts.extensions.insert(kept::kept(upgrade, place, revocation.clone()));
        parts.extensions.insert(revocation);
        Ok(())
    }
}

/// A request on its way in.
struct Incoming<B> {
    parts: request::Parts,
    body: B,
    address: SocketAddr,
    connection: Arc<ConnectionState>,
    id: RequestId,
}

/// Why a request does not reach a handler.
enum Refusal {
    Error(ApiError, Dialect),
    /// 405: one `Allow` line a method, and no body where the HTTP contract §1.2 has none.
    Method(Vec<Method>, Dialect),
}

/// A caller that showed a credential which the gate does not know; the plugin may.
#[derive(Debug, Clone, Copy)]
struct Suspect(Peer);

/// What a request that was let in goes to.
struct Admitted<'a> {
    route: &'a Route,
    context: RequestContext,
    counted: Option<in_flight::Counted>,
}

impl Front {
    pub(crate) fn new(table: Table, shared: Arc<Shared>) -> Self {
        Self { table, shared }
    }

    /// Answers one request that came from `address`; `busy` is its place on its connection.
    pub(crate) async fn answer<B>(
        &self,
        mut request: Request<B>,
        address: SocketAddr,
        busy: Busy,
        take_upgrade: TakeUpgrade<B>,
    ) -> Response<Reply>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let started = Instant::now();
        let connection = Arc::clone(busy.connection());
        if request.headers().contains_key(header::UPGRADE) {
            let upgrade = take_upgrade(&mut request);
            request.extensions_mut().insert(upgrade);
        }
        let (mut parts, body) = request.into_parts();
        // HTTP/1 has one answer at a time: there the socket shows a reader that stalls.
        let watch = (parts.version == Version::HTTP_2).then(|| Arc::clone(&connection));
        let id = self.shared.ids.take(&parts.headers);
        // What is logged on the way names its request.
        let log = info_span!("request", request_id = %id);
        let mut span = self.shared.tracer.as_ref().and_then(|tracer| tracer.begin(&mut parts, &id));
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let serves = |method: &Method| matches!(self.table.find(method, &path), Found::Route(..));
        let preflight = self.shared.cors.as_ref().and_then(|cors| cors.preflight(&parts, serves));
        let (mut response, counted) = match preflight {
            Some(response) => (response, None),
            None => {
                let incoming = Incoming { parts, body, address, connection, id: id.clone() };
                self.pass(incoming).instrument(log.clone()).await
            }
        };
        if let Some(cors) = &self.shared.cors {
            cors.decorate(origin.as_ref(), response.headers_mut());
        }
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        let status = response.status();
        self.shared.telemetry.answered(status);
        span.iter_mut().for_each(|span| span.answered(status));
        // The query may hold what is nobody's business; it is not logged.
        let ms = started.elapsed().as_millis() as u64;
        info!(request_id = %id, %method, url = path, status = status.as_u16(), ms, peer = %address.ip(), "http");
        response.map(|body| {
            let reply = Reply::new(body, Owned { _busy: busy, _counted: counted, _span: span, log });
            if let Some(connection) = watch {
                connection.watch(reply.held());
            }
            reply
        })
    }

    async fn pass<B>(&self, mut incoming: Incoming<B>) -> (Response<Body>, Option<in_flight::Counted>)
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let refusal = match self.admit(&mut incoming) {
            Ok(admitted) => return self.handle(admitted, incoming).await,
            Err(refusal) => refusal,
        };
        if !incoming.body.is_end_stream() {
            incoming.connection.linger();
        }
        let response = match refusal {
            Refusal::Error(error, dialect) => {
                self.count(&error);
                debug!(%error, "refused");
                error.response(dialect)
            }
            Refusal::Method(methods, dialect) => method_not_allowed(&methods, dialect),
        };
        (response, None)
    }

    /// Everything that is judged before the body is looked at.
    fn admit<B: http_body::Body>(&self, incoming: &mut Incoming<B>) -> Result<Admitted<'_>, Refusal> {
        let shared = &*self.shared;
        let parts = &mut incoming.parts;
        let found = self.table.find(&parts.method, parts.uri.path());
        let dialect = dialect::of(&found, &parts.headers);
        let refuse = |error| Refusal::Error(error, dialect);
        head::check(parts, &shared.limits).map_err(refuse)?;
        let host = head::host(parts).map_err(refuse)?;
        let mut peer = shared.proxies.peer(incoming.address, &parts.headers, &host);
        peer.is_own_page = shared.origins.is_own_page(parts, &host);
        let own_pages_only = matches!(&found, Found::Route(route, _) if route.own_pages_only);
        shared.origins.check(parts, &host, own_pages_only.then_some(&peer)).map_err(|error| {
            shared.telemetry.refuse(Bound::Origin);
            refuse(error)
        })?;
        let (route, params) = match found {
            Found::Route(route, params) => (route, params),
            Found::OtherMethod(methods, guard) => {
                self.guard(guard, &peer, parts).map_err(refuse)?;
                let known = head::is_known(&parts.method);
                let methods = methods.into_iter().filter(|_| known).cloned().collect();
                return Err(Refusal::Method(methods, dialect));
            }
            Found::Nothing(guard) => {
                self.guard(guard, &peer, parts).map_err(refuse)?;
                if !head::is_known(&parts.method) {
                    return Err(Refusal::Method(Vec::new(), dialect));
                }
                return Err(refuse(ApiError::NotFound));
            }
        };
        if route.drains && shared.drain.is_draining() {
            return Err(refuse(ApiError::Draining));
        }
        let caller = match route.access {
            Access::Plugin => {
                let judged = shared.gate.login(route.plugin, &peer, &parts.headers);
                let (caller, login) = judged.map_err(refuse)?;
                if matches!(login, Login::Refused(_)) && shows_credential(&parts.headers) {
                    parts.extensions.insert(Suspect(peer));
                }
                shared.gate.take_own_keys(&mut parts.headers);
                parts.extensions.insert(login);
                caller
            }
            access => {
                // An agent reads a refused login as JSON, though all else on its route is text
                // (KD-43).
                let dialect = if access == Access::Worker { Dialect::Contract } else { dialect };
                let judged = shared.gate.judge(access, route.plugin, &peer, &parts.headers);
                judged.map_err(|error| Refusal::Error(error, dialect))?
            }
        };
        if route.access == Access::Worker {
            shared.keep(&caller, parts).map_err(refuse)?;
        }
        let announced = incoming.body.size_hint().lower();
        if announced > route.body_bytes_max {
            return Err(refuse(ApiError::TooLarge { bytes_max: route.body_bytes_max }));
        }
        shared.proxies.launder(&peer, &mut parts.headers);
        // No plugin could read it.
        if route.plugin.is_empty() {
            parts.extensions.insert(peer);
        }
        let context = RequestContext { id: incoming.id.clone(), caller, dialect, params };
        let counted = route.holds_drain.then(|| shared.in_flight.count());
        Ok(Admitted { route, context, counted })
    }

    /// Below a guard a stranger learns nothing: drain and gate come before 404 and 405
    /// (HTTP contract §1.4).
    fn guard(
        &self,
        guard: Option<&nfrx_spi::Guard>,
        peer: &Peer,
        parts: &request::Parts,
    ) -> Result<(), ApiError> {
        let Some(guard) = guard else { return Ok(()) };
        if self.shared.drain.is_draining() {
            return Err(ApiError::Draining);
        }
        self.shared.gate.judge(guard.access, "", peer, &parts.headers).map(drop)
    }

    async fn handle<B>(
        &self,
        admitted: Admitted<'_>,
        incoming: Incoming<B>,
    ) -> (Response<Body>, Option<in_flight::Counted>)
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let Admitted { route, context, counted } = admitted;
        let action = Action::of(route, &incoming.parts, &context);
        let dialect = context.dialect;
        let suspect = incoming.parts.extensions.get::<Suspect>().copied();
        let fault = Fault::default();
        let body = if incoming.body.is_end_stream() {
            Body::empty()
        } else {
            let silence_max = route.bounds_silence.then_some(self.shared.limits.body_silence_max);
            let limited = LimitedBody::new(incoming.body, route.body_bytes_max, silence_max, fault.clone());
            Body::stream(limited.on_connection(incoming.connection))
        };
        let request = Request::from_parts(incoming.parts, body);
        let handler = Arc::clone(&route.handler);
        let call = AssertUnwindSafe(async move { handler.call(request, context).await });
        let result = call.catch_unwind().await.unwrap_or_else(|_| {
            self.shared.telemetry.panicked();
            error!(plugin = route.plugin, route = route.pattern, "a handler panicked");
            Err(ApiError::Internal)
        });
        let result = match (fault.error(), result) {
            // The handler saw only a broken body; what broke it is ours to say.
            (Some(error), Err(_)) => Err(error),
            (Some(error), Ok(response)) if !response.status().is_success() => Err(error),
            (_, result) => result,
        };
        let result =
            result.and_then(|response| match (suspect, response.extensions().get::<LoginRefused>()) {
                (Some(Suspect(peer)), Some(LoginRefused)) => {
                    self.shared.telemetry.refuse(Bound::Login);
                    self.shared.gate.refused_by_plugin(&peer).map(|()| response)
                }
                _ => Ok(response),
            });
        let response = result.unwrap_or_else(|error| {
            self.count(&error);
            debug!(%error, "failed");
            error.response(dialect)
        });
        if let Some(action) = action {
            action.note(response.status());
        }
        (response, counted)
    }

    fn count(&self, error: &ApiError) {
        let bound = match error {
            ApiError::TooLarge { .. } => Bound::BodyBytes,
            ApiError::RequestTimeout => Bound::BodySilence,
            ApiError::UriTooLong { .. } => Bound::UriBytes,
            ApiError::HeadersTooLarge => Bound::HeadBytes,
            ApiError::TooManyLogins { .. } => Bound::LoginRate,
            ApiError::Unauthorized(_) => Bound::Login,
            ApiError::Draining => Bound::Draining,
            ApiError::TooManyTunnels { .. } => Bound::KeyTunnels,
            _ => return,
        };
        self.shared.telemetry.refuse(bound);
    }
}

fn method_not_allowed(methods: &[Method], dialect: Dialect) -> Response<Body> {
    let mut response = ApiError::MethodNotAllowed.response(dialect);
    if dialect != Dialect::OpenAi {
        response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    for method in methods {
        if let Ok(value) = HeaderValue::from_str(method.as_str()) {
            response.headers_mut().append(header::ALLOW, value);
        }
    }
    response
}

/// What a handler is told when a body breaks off.
fn broken(error: &dyn std::fmt::Display) -> BodyError {
    debug!(%error, "a request's body broke off");
    BodyError::Aborted
}

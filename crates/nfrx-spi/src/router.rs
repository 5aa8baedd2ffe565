//! Routes as data: a plugin lists what it serves, with who may call it and within
//! which limits; the server compiles the list (decision 14).
//!
//! The login gate, the body limits, the walk over all routes in tests and the API
//! documentation read this one list, so a route can't be served without them.

use std::future::Future;
use std::sync::Arc;

use http::{Method, Request, Response};
use serde_json::Value;

use crate::{ApiError, Body, BoxFuture, Dialect, RequestContext};

/// What a handler gives: an answer, or an error that the server writes in the
/// caller's dialect.
pub type HandlerResult = Result<Response<Body>, ApiError>;

/// Answers one request.
///
/// Called by the server for each request of its route, from the connection's task (on
/// HTTP/2 from a task for each request), at any number of requests at once. Dropping the
/// future, or the answer's body before its end, means that the client went away. A panic
/// is caught: its request gets 500. The server has no limit for how long an answer takes;
/// a handler that waits for somebody has one of its own.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request`, which has passed the gate and the limits of its route. Its body
    /// streams; reading it fails when it is over the route's limit or silent for too long,
    /// and then the server answers 413 or 408, whatever error the handler gives.
    fn call(&self, request: Request<Body>, context: RequestContext) -> BoxFuture<'static, HandlerResult>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Request<Body>, RequestContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    fn call(&self, request: Request<Body>, context: RequestContext) -> BoxFuture<'static, HandlerResult> {
        Box::pin(self(request, context))
    }
}

/// Code around handlers: it may look at a request before them, and at their answer.
///
/// Called by [`Router::handle`] when the plugin registers its routes.
pub trait Middleware: Send + Sync + 'static {
    /// Gives the handler that is called instead of `next`, once for each route.
    fn wrap(&self, next: Arc<dyn Handler>) -> Arc<dyn Handler>;
}

impl<F> Middleware for F
where
    F: Fn(Arc<dyn Handler>) -> Arc<dyn Handler> + Send + Sync + 'static,
{
    fn wrap(&self, next: Arc<dyn Handler>) -> Arc<dyn Handler> {
        self(next)
    }
}

/// Who may call a route. Whoever shows no key, or an unknown one, gets 401; a key that is
/// known but not for this, 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Callers of the public API: a key or a role of that side, or loopback while
    /// the side has neither (decision 17).
    Client,
    /// Agents: the same with the workers' side.
    Worker,
    /// Either of the two.
    Either,
    /// Keys with the `admin` scope.
    Admin,
    /// Whoever asks, as far as the plugin, which judges by the request's
    /// [`Login`](crate::Login): for services that have credentials of their own.
    Plugin,
}

/// What a route does, for the API documentation: plain data in the terms of OpenAPI.
#[derive(Debug, Clone, Default)]
pub struct Operation {
    /// One line.
    pub summary: &'static str,
    /// JSON Schema of an object whose members are the query's parameters.
    pub query: Option<Value>,
    /// JSON Schema of the request's body; a request without one has no body, or any.
    pub request: Option<Value>,
    /// The media type of the request's body, where it is not JSON.
    pub request_type: Option<&'static str>,
    /// JSON Schema of the answer's body, when it is JSON.
    pub response: Option<Value>,
    /// The media type of the answer's body, where it is not JSON; `*/*` for any.
    pub response_type: Option<&'static str>,
    /// Whether the answer may be a stream of events.
    pub streams: bool,
    /// Whether the request becomes a WebSocket (101), and any other is refused (426).
    pub upgrades: bool,
    /// Whether the answer may have no body (204).
    pub may_be_empty: bool,
    /// Whether errors may be somebody else's, whose form nobody knows here.
    pub passes_errors: bool,
}

/// One route. Made by [`Router::handle`]; the methods below set what differs from
/// its router's defaults.
#[derive(Clone)]
pub struct Route {
    /// The method; HEAD and OPTIONS are served by nobody (HTTP contract §1.2).
    pub method: Method,
    /// The absolute pattern: `{name}` is one segment, `{*name}` the rest.
    pub pattern: String,
    /// Who may call it.
    pub access: Access,
    /// The most bytes of a request's body; more are refused with 413.
    pub body_bytes_max: u64,
    /// The form of its errors, unless the client asks for OpenAI's.
    pub dialect: Dialect,
    /// Whether it is refused (503) while the server drains.
    pub drains: bool,
    /// Whether the front door bounds the silence of a request's body (408).
    pub bounds_silence: bool,
    /// Whether its requests hold the drain up (HTTP contract §1.8).
    pub holds_drain: bool,
    /// Whether pages of other origins are refused whatever they do, and a page of our own
    /// only under a name that no stranger can have. Otherwise any page may read.
    pub own_pages_only: bool,
    /// For the documentation.
    pub operation: Option<Operation>,
    /// The plugin that serves it, for scopes and logs; empty for the server itself.
    pub plugin: &'static str,
    /// Answers the requests, middleware included.
    pub handler: Arc<dyn Handler>,
}

impl Route {
    /// Sets who may call it.
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Sets the most bytes of a request's body.
    pub fn body_bytes_max(&mut self, bytes: u64) -> &mut Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Sets the form of its errors.
    pub fn dialect(&mut self, dialect: Dialect) -> &mut Self {
        self.dialect = dialect;
        self
    }

    /// Leaves it to the handler how long a request's body may be silent.
    pub fn own_silence(&mut self) -> &mut Self {
        self.bounds_silence = false;
        self
    }

    /// Serves it also while the server drains, without holding the drain up.
    pub fn while_draining(&mut self) -> &mut Self {
        (self.drains, self.holds_drain) = (false, false);
        self
    }

    /// Serves it also while the server drains, and lets the drain wait for it: what it ends
    /// was begun before.
    pub fn to_the_end(&mut self) -> &mut Self {
        (self.drains, self.holds_drain) = (false, true);
        self
    }

    /// Refuses pages of other origins also when they only read.
    pub fn own_pages_only(&mut self) -> &mut Self {
        self.own_pages_only = true;
        self
    }

    /// Documents it.
    pub fn operation(&mut self, operation: Operation) -> &mut Self {
        self.operation = Some(operation);
        self
    }
}

/// A prefix below which everything is judged by the gate, unknown paths too, so that
/// a stranger can't learn what is there (HTTP contract §1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The prefix, without a slash at its end; parameters as in patterns.
    pub prefix: String,
    /// Who may pass.
    pub access: Access,
    /// The form of the refusals below it.
    pub dialect: Dialect,
}

/// JSON bodies are held whole up to this many bytes (decision 12).
pub const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The list of routes that a plugin fills at start, in
/// [`Plugin::register_routes`](crate::Plugin::register_routes).
///
/// A pattern is a path in which `{name}` stands for one segment and `{*name}`, at its end,
/// for the rest. More than one method of a path is more than one route.
///
/// The router a plugin is handed begins at `/api/{id}`, with access
/// [`Access::Client`], [`JSON_BYTES_MAX`] and [`Dialect::Contract`].
pub struct Router {
    prefix: String,
    plugin: &'static str,
    access: Access,
    body_bytes_max: u64,
    dialect: Dialect,
    layers: Vec<Arc<dyn Middleware>>,
    routes: Vec<Route>,
    guards: Vec<Guard>,
}

impl Router {
    /// A router for `plugin` whose patterns begin with `prefix`.
    pub fn new(plugin: &'static str, prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            plugin,
            access: Access::Client,
            body_bytes_max: JSON_BYTES_MAX,
            dialect: Dialect::Contract,
            layers: Vec::new(),
            routes: Vec::new(),
            guards: Vec::new(),
        }
    }

    /// Sets who may call the routes that follow.
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Sets the form of errors of the routes that follow.
    pub fn dialect(&mut self, dialect: Dialect) -> &mut Self {
        self.dialect = dialect;
        self
    }

    /// Sets the body limit of the routes that follow.
    pub fn body_bytes_max(&mut self, bytes: u64) -> &mut Self {
        self.body_bytes_max = bytes;
        self
    }

    /// "Use": wraps the routes that follow in `layer`; the first layer is outermost.
    pub fn layer(&mut self, layer: impl Middleware) -> &mut Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Judges everything below this router's prefix by its access, unknown paths too.
    pub fn guard(&mut self) -> &mut Self {
        self.guards.push(Guard { prefix: self.prefix.clone(), access: self.access, dialect: self.dialect });
        self
    }

    /// Adds a route for `method` at `pattern`, which is appended to the prefix.
    pub fn handle(&mut self, method: Method, pattern: &str, handler: impl Handler) -> &mut Route {
        let mut handler: Arc<dyn Handler> = Arc::new(handler);
        for layer in self.layers.iter().rev() {
            handler = layer.wrap(handler);
        }
        self.routes.push(Route {
            method,
            pattern: format!("{}{pattern}", self.prefix),
            access: self.access,
            body_bytes_max: self.body_bytes_max,
            dialect: self.dialect,
            drains: true,
            holds_drain: true,
            bounds_silence: true,
            own_pages_only: false,
            operation: None,
            plugin: self.plugin,
            handler,
        });
        let last = self.routes.len() - 1;
        &mut self.routes[last]
    }

    /// Adds a GET route.
    pub fn get(&mut self, pattern: &str, handler: impl Handler) -> &mut Route {
        self.handle(Method::GET, pattern, handler)
    }

    /// Adds a POST route.
    pub fn post(&mut self, pattern: &str, handler: impl Handler) -> &mut Route {
        self.handle(Method::POST, pattern, handler)
    }

    /// Adds a PUT route.
    pub fn put(&mut self, pattern: &str, handler: impl Handler) -> &mut Route {
        self.handle(Method::PUT, pattern, handler)
    }

    /// Adds a PATCH route.
    pub fn patch(&mut self, pattern: &str, handler: impl Handler) -> &mut Route {
        self.handle(Method::PATCH, pattern, handler)
    }

    /// Adds a DELETE route.
    pub fn delete(&mut self, pattern: &str, handler: impl Handler) -> &mut Route {
        self.handle(Method::DELETE, pattern, handler)
    }

    /// Adds routes under `prefix`, appended to this router's own. What `fill` sets
    /// (access, layers …) ends with it.
    pub fn route(&mut self, prefix: &str, fill: impl FnOnce(&mut Router)) {
        let inner_prefix = format!("{}{prefix}", self.prefix);
        self.nested(inner_prefix, fill);
    }

    /// Adds routes under the same prefix; what `fill` sets ends with it.
    pub fn group(&mut self, fill: impl FnOnce(&mut Router)) {
        let prefix = self.prefix.clone();
        self.nested(prefix, fill);
    }

    /// Adds routes outside `/api/{id}`, at an absolute `prefix` such as `/v1`. If two
    /// plugins claim the same pattern, the server refuses to start (decision 15).
    pub fn mount(&mut self, prefix: &str, fill: impl FnOnce(&mut Router)) {
        self.nested(prefix.to_owned(), fill);
    }

    fn nested(&mut self, prefix: String, fill: impl FnOnce(&mut Router)) {
        let mut inner = Router {
            prefix,
            plugin: self.plugin,
            access: self.access,
            body_bytes_max: self.body_bytes_max,
            dialect: self.dialect,
            layers: self.layers.clone(),
            routes: Vec::new(),
            guards: Vec::new(),
        };
        fill(&mut inner);
        self.routes.append(&mut inner.routes);
        self.guards.append(&mut inner.guards);
    }

    /// The finished lists, for the server and for tests that walk over all routes.
    pub fn into_parts(self) -> (Vec<Route>, Vec<Guard>) {
        (self.routes, self.guards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing(_: Request<Body>, _: RequestContext) -> HandlerResult {
        Err(ApiError::NotFound)
    }

    #[test]
    fn what_a_group_sets_ends_with_it() {
        let mut router = Router::new("echo", "/api/echo");
        router.route("/v1", |v1| {
            v1.access(Access::Admin).dialect(Dialect::OpenAi).guard();
            v1.get("/a", nothing);
        });
        router.get("/b", nothing).access(Access::Open);
        router.mount("/v1", |root| {
            root.post("/c", nothing);
        });
        let (routes, guards) = router.into_parts();
        let list: Vec<_> = routes.iter().map(|r| (r.pattern.as_str(), r.access, r.dialect)).collect();
        assert_eq!(
            list,
            [
                ("/api/echo/v1/a", Access::Admin, Dialect::OpenAi),
                ("/api/echo/b", Access::Open, Dialect::Contract),
                ("/v1/c", Access::Client, Dialect::Contract),
            ]
        );
        assert_eq!(guards[0].prefix, "/api/echo/v1");
    }
}

//! The server's own routes: health, metrics, state, options, plugin roots, the API's document, and the page
//! with its login (HTTP contract §2, §3).

mod docs;
mod health;
mod metrics;
mod openapi;
mod options;
mod page;
mod roots;
mod session;
mod state;

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use nfrx_runtime::DrainWatch;
use nfrx_runtime::metrics_text::Registry;
use nfrx_spi::{Access, Body, Route, Router, StateElement};
use serde::Serialize;
use serde_json::Value;

use crate::front::Shared;
use crate::host::Host;
use state::Board;

/// None of these routes reads a body; a small one is let be.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Which of the server's own routes a listener has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// All of them.
    All,
    /// All but metrics, which have a listener of their own.
    WithoutMetrics,
    /// That listener's.
    MetricsOnly,
}

/// What the server's own routes read.
pub(crate) struct System {
    host: Arc<Host>,
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    board: Arc<Board>,
    closing: DrainWatch,
}

impl System {
    /// `closing` ends the streams of state.
    pub(crate) fn new(
        host: Arc<Host>,
        shared: Arc<Shared>,
        registry: Registry,
        elements: Vec<Box<dyn StateElement>>,
        closing: DrainWatch,
    ) -> Self {
        let board = Arc::new(Board::new(Arc::clone(&host), Arc::clone(&shared), elements));
        Self { host, shared, registry: Arc::new(registry), board, closing }
    }

    /// The routes; `taken` are the plugins' own, which come first where both would
    /// serve a plugin's root.
    pub(crate) fn routes(&self, mounted: Mounted, taken: &[Route]) -> Vec<Route> {
        let mut router = Router::new("", "");
        router.access(Access::Open);
        if mounted != Mounted::WithoutMetrics {
            metrics::routes(&mut router, &self.registry, &self.shared);
        }
        if mounted != Mounted::MetricsOnly {
            health::routes(&mut router, &self.host);
            page::routes(&mut router);
            router.group(|open| session::routes(open, &self.shared));
            router.access(Access::Client);
            options::routes(&mut router, &self.host);
            state::routes(&mut router, &self.board, &self.host, &self.closing);
            roots::routes(&mut router, &self.host, taken);
        }
        always(router.into_parts().0)
    }
}

/// The routes of the API's document, which names these `served` ones and its own; `url` is
/// where people reach the server.
pub(crate) fn documentation(served: &[Route], version: &str, url: Option<&str>) -> Vec<Route> {
    always(docs::routes(served, version, url))
}

/// Serves routes while the server drains, too.
fn always(mut routes: Vec<Route>) -> Vec<Route> {
    for route in &mut routes {
        route.while_draining().body_bytes_max(BODY_BYTES_MAX);
    }
    routes
}

/// An answer of JSON.
fn json(value: &impl Serialize, newline: bool) -> Response<Body> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    if newline {
        text.push(b'\n');
    }
    content("application/json", text)
}

/// The schema of an object with all of these members, for the API's document.
fn object(members: Value) -> Value {
    let required: Vec<_> = members.as_object().into_iter().flat_map(|members| members.keys()).collect();
    serde_json::json!({ "type": "object", "required": required, "properties": members })
}

/// An answer of any type, which browsers take for nothing else.
fn content(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

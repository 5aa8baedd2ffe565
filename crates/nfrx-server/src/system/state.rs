//! The state API: one snapshot of all parts, serialised once for all who look.

mod snapshot;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use nfrx_runtime::DrainWatch;
use nfrx_spi::{ApiError, Body, Operation, RequestContext, Router, StateElement};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{content, object};
use crate::front::Shared;
use crate::gate::Peer;
use crate::host::Host;
use snapshot::{SERVER, Snapshot};
use watch::Watcher;

/// How old a snapshot may be that is given again: plugins are asked at most twice a
/// second, however many look.
const FRESH: Duration = Duration::from_millis(500);
/// The same for one that took long to take: at most a twentieth of the time goes into
/// snapshots.
const FRESH_MAX: Duration = Duration::from_secs(2);

/// All parts of the state, and the snapshot taken last.
pub(super) struct Board {
    host: Arc<Host>,
    shared: Arc<Shared>,
    elements: Vec<Box<dyn StateElement>>,
    last: Mutex<Option<Taken>>,
    watchers: Arc<AtomicUsize>,
}

struct Taken {
    snapshot: Arc<Snapshot>,
    stale_at: Instant,
}

impl Board {
    pub(super) fn new(host: Arc<Host>, shared: Arc<Shared>, elements: Vec<Box<dyn StateElement>>) -> Self {
        Self { host, shared, elements, last: Mutex::default(), watchers: Arc::default() }
    }

    /// The state, at most [`FRESH`] old, or up to [`FRESH_MAX`] where it is large.
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if let Some(taken) = &*last
            && begun < taken.stale_at
        {
            return Arc::clone(&taken.snapshot);
        }
        let mut plugins: BTreeMap<_, _> = self.elements.iter().map(|part| (part.id(), part.data())).collect();
        plugins.insert(SERVER, self.server());
        let snapshot = Arc::new(Snapshot::new(&plugins));
        let keep = (begun.elapsed() * 20).clamp(FRESH, FRESH_MAX);
        *last = Some(Taken { snapshot: Arc::clone(&snapshot), stale_at: begun + keep });
        snapshot
    }

    fn server(&self) -> Value {
        let status: BTreeMap<_, _> =
            self.host.statuses().into_iter().map(|(id, status)| (id, status.as_str())).collect();
        json!({ "drainable_inflight": self.shared.in_flight.now(), "status": status })
    }

    fn view(&self, id: &str) -> Option<String> {
        self.elements.iter().find(|part| part.id() == id)?.html()
    }
}

pub(super) fn routes(router: &mut Router, board: &Arc<Board>, host: &Arc<Host>, closing: &DrainWatch) {
    let of = Arc::clone(board);
    let shown = move |_: Request<Body>, context: RequestContext| {
        let mut text = of.snapshot().json_for(&context.caller.scopes).to_vec();
        text.push(b'\n');
        async move { Ok(content("application/json", text)) }
    };
    router.get("/api/state", shown).operation(Operation {
        summary: "Shows the state of all parts",
        response: Some(object(json!({ "plugins": { "type": "object" } }))),
        ..Operation::default()
    });
    let (of, ends) = (Arc::clone(board), closing.clone());
    let watch = move |request: Request<Body>, context: RequestContext| {
        let result = watcher(request, context).map(|watcher| watch::response(&of, watcher, ends.clone()));
        async move { result }
    };
    router.get("/api/state/stream", watch).operation(Operation {
        summary: "Follows the state of all parts",
        streams: true,
        ..Operation::default()
    });
    let of = Arc::clone(board);
    let view = move |_: Request<Body>, context: RequestContext| {
        let id = context.params.get("id");
        let may_see = context.caller.scopes.allows_service(id);
        let response = view_response(may_see.then(|| of.view(id)).flatten());
        async move { Ok(response) }
    };
    router.get("/api/state/view/{id}.html", view).operation(Operation {
        summary: "Shows a part's state as HTML, where it has a view of its own",
        response_type: Some("text/html"),
        may_be_empty: true,
        ..Operation::default()
    });
    let descriptors = host.descriptors.clone();
    let described = move |_: Request<Body>, _: RequestContext| {
        let response = super::json(&descriptors, true);
        async move { Ok(response) }
    };
    router.get("/api/state/descriptors", described).operation(Operation {
        summary: "Says what the plugins are",
        response: Some(json!({ "type": ["array", "object"] })),
        ..Operation::default()
    });
}

fn watcher(request: Request<Body>, context: RequestContext) -> Result<Watcher, ApiError> {
    let (parts, _) = request.into_parts();
    let peer = *parts.extensions.get::<Peer>().ok_or(ApiError::Internal)?;
    Ok(Watcher { peer, headers: parts.headers, scopes: context.caller.scopes })
}

/// A fragment of HTML without script, or 204 for a part without a view.
fn view_response(html: Option<String>) -> Response<Body> {
    let Some(html) = html else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    };
    let mut response = content("text/html; charset=utf-8", html);
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

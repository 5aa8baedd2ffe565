//! The state API: one snapshot of all parts, serialised once for all who look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use nfrx_runtime::DrainWatch;
use nfrx_spi::{Body, BodyError, RequestContext, Router, Scopes, StateElement};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::content;
use crate::front::Shared;
use crate::host::Host;

/// How often watchers get a snapshot (HTTP contract §3.2).
const EVERY: Duration = Duration::from_secs(2);
/// How old a snapshot may be that is given again: plugins are asked at most twice a
/// second, however many look.
const FRESH: Duration = Duration::from_millis(500);

/// All parts of the state, and the snapshot taken last.
pub(super) struct Board {
    host: Arc<Host>,
    shared: Arc<Shared>,
    elements: Vec<Box<dyn StateElement>>,
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

/// The state at one moment, serialised once for all who look.
struct Snapshot {
    parts: BTreeMap<&'static str, Bytes>,
    whole: Bytes,
}

impl Snapshot {
    fn new(parts: BTreeMap<&'static str, Value>) -> Self {
        let text = |value: &Value| Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let parts: BTreeMap<_, _> = parts.iter().map(|(id, value)| (*id, text(value))).collect();
        let whole = envelope(parts.iter());
        Self { parts, whole }
    }

    /// The envelope as one line of JSON, with what the holder of these scopes may see.
    fn seen_with(&self, scopes: &Scopes) -> Bytes {
        if scopes.services.is_empty() {
            return self.whole.clone();
        }
        envelope(self.parts.iter().filter(|(id, _)| **id == SERVER || scopes.allows_service(id)))
    }
}

/// The server's own part, which every client may see.
const SERVER: &str = "server";

fn envelope<'a>(parts: impl Iterator<Item = (&'a &'static str, &'a Bytes)>) -> Bytes {
    let mut text = b"{\"plugins\":{".to_vec();
    for (nth, (id, part)) in parts.enumerate() {
        if nth > 0 {
            text.push(b',');
        }
        // Ids are checked at start: nothing in them needs an escape.
        text.extend_from_slice(format!("\"{id}\":").as_bytes());
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"}}");
    text.into()
}

impl Board {
    pub(super) fn new(host: Arc<Host>, shared: Arc<Shared>, elements: Vec<Box<dyn StateElement>>) -> Self {
        Self { host, shared, elements, last: Mutex::default() }
    }

    /// The state, at most [`FRESH`] old.
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((taken, snapshot)) = &*last
            && taken.elapsed() < FRESH
        {
            return Arc::clone(snapshot);
        }
        let mut plugins: BTreeMap<_, _> = self.elements.iter().map(|part| (part.id(), part.data())).collect();
        plugins.insert(SERVER, self.server());
        let snapshot = Arc::new(Snapshot::new(plugins));
        *last = Some((Instant::now(), Arc::clone(&snapshot)));
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
    router.get("/api/state", move |_: Request<Body>, context: RequestContext| {
        let mut text = of.snapshot().seen_with(&context.caller.scopes).to_vec();
        text.push(b'\n');
        async move { Ok(content("application/json", text)) }
    });
    let (of, ends) = (Arc::clone(board), closing.clone());
    router.get("/api/state/stream", move |_: Request<Body>, context: RequestContext| {
        let response = stream_response(Arc::clone(&of), context.caller.scopes, ends.clone());
        async move { Ok(response) }
    });
    let of = Arc::clone(board);
    router.get("/api/state/view/{id}.html", move |_: Request<Body>, context: RequestContext| {
        let id = context.params.get("id");
        let may_see = context.caller.scopes.allows_service(id);
        let response = view_response(may_see.then(|| of.view(id)).flatten());
        async move { Ok(response) }
    });
    let descriptors = host.descriptors.clone();
    router.get("/api/state/descriptors", move |_: Request<Body>, _: RequestContext| {
        let response = super::json(&descriptors, true);
        async move { Ok(response) }
    });
}

fn stream_response(board: Arc<Board>, scopes: Arc<Scopes>, closing: DrainWatch) -> Response<Body> {
    let mut response =
        content("text/event-stream", Body::stream(StreamBody::new(events(board, scopes, closing))));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A snapshot at once (KD-28), then one every two seconds until the doors close.
fn events(
    board: Arc<Board>,
    scopes: Arc<Scopes>,
    closing: DrainWatch,
) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Send {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let next = move |mut ticks: tokio::time::Interval| {
        let (board, scopes) = (Arc::clone(&board), Arc::clone(&scopes));
        async move {
            ticks.tick().await;
            let event = [b"data: ".as_slice(), &board.snapshot().seen_with(&scopes), b"\n\n"].concat();
            Some((Ok(Frame::data(Bytes::from(event))), ticks))
        }
    };
    stream::unfold(ticks, next).take_until(Box::pin(async move { closing.draining().await }))
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

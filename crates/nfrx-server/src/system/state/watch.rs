//! Those who watch the state: a bounded number, each told of news at most twice a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use nfrx_runtime::DrainWatch;
use nfrx_spi::metrics::Gauge;
use nfrx_spi::{Access, Body, BodyError, Scopes};
use tokio::time::{Instant, sleep_until};

use super::{Board, FRESH};
use crate::gate::Peer;
use crate::system::content;
use crate::telemetry::Bound;

/// How often a watcher hears something though nothing is new (HTTP contract §3.2).
const EVERY: Duration = Duration::from_secs(2);
/// How many may watch at once.
const WATCHERS_MAX: usize = 64;
/// When one too many should come again.
const RETRY_SECONDS: u16 = 10;

/// A watcher's place among all; dropping it makes room.
struct Place {
    taken: Arc<AtomicUsize>,
    shown: Arc<Gauge>,
}

impl Place {
    /// A place, if there is one left.
    fn take(board: &Board) -> Option<Self> {
        let more = |count: usize| (count < WATCHERS_MAX).then_some(count + 1);
        board.watchers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        let shown = board.shared.telemetry.watchers.with([]);
        shown.add(1);
        Some(Self { taken: Arc::clone(&board.watchers), shown })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shown.add(-1);
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who watches: what the gate judges by, again before each event, so that a key which is
/// revoked or a session that is over sees nothing more.
pub(super) struct Watcher {
    pub(super) peer: Peer,
    pub(super) headers: HeaderMap,
    pub(super) scopes: Arc<Scopes>,
}

struct Watch {
    board: Arc<Board>,
    watcher: Watcher,
    /// When the watcher was told last, and the print of what it was told.
    told: Option<(Instant, u64)>,
    _place: Place,
}

/// The stream of the state for one watcher, or 503 when too many watch.
pub(super) fn response(board: &Arc<Board>, watcher: Watcher, closing: DrainWatch) -> Response<Body> {
    let Some(place) = Place::take(board) else {
        board.shared.telemetry.refuse(Bound::Watchers);
        return too_many();
    };
    let watch = Watch { board: Arc::clone(board), watcher, told: None, _place: place };
    let mut response = content("text/event-stream", Body::stream(StreamBody::new(watch.events(closing))));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold events back until they fill a buffer.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn too_many() -> Response<Body> {
    let mut response = super::super::json(&serde_json::json!({ "error": "too_many_watchers" }), false);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    response
}

impl Watch {
    /// A snapshot at once (KD-28), then news, until the doors close.
    fn events(self, closing: DrainWatch) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Send {
        let next = |mut watch: Self| async move {
            let event = watch.next().await?;
            Some((Ok(Frame::data(event)), watch))
        };
        stream::unfold(self, next).take_until(Box::pin(async move { closing.draining().await }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut look_at = self.told.map(|(when, _)| when + FRESH);
        loop {
            if let Some(look_at) = look_at {
                sleep_until(look_at).await;
            }
            if !self.may_watch() {
                return None;
            }
            let snapshot = self.board.snapshot();
            let now = Instant::now();
            if self.told.is_none_or(|(when, print)| print != snapshot.print || now >= when + EVERY) {
                self.told = Some((now, snapshot.print));
                return Some(snapshot.event_for(&self.watcher.scopes));
            }
            look_at = Some(now + FRESH);
        }
    }

    fn may_watch(&self) -> bool {
        let Watcher { peer, headers, .. } = &self.watcher;
        self.board.shared.gate.judge(Access::Client, "", peer, headers).is_ok()
    }
}

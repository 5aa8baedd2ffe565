//! One legacy session: a child of its own, spoken to with the client's own ids.
//!
//! Each message of the child goes to exactly one stream: an answer and the progress of a
//! request to the request's own; what belongs to none to the only request there is, else to
//! the stream that the client opened for it. A client that is cut off loses nothing: the
//! child works on, and what it says is kept.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use nfrx_spi::{Body, BodyError};
use serde_json::value::RawValue;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::answer;
use super::child::{Ending, Hearer, Input};
use super::message::{Id, Kind, Message};
use super::streams::{Place, Read, STANDALONE, Streams};

/// Requests of one session that its child works on at once.
const PENDING_MAX: usize = 256;
/// A client that has not read so much is waited for: its child is its own.
const UNREAD_MAX: usize = 4 * 1024 * 1024;
/// Where events without a message came into the protocol.
const PRIMED_SINCE: &str = "2025-11-25";
/// The only version with several messages in one request.
const BATCHED_IN: &str = "2025-03-26";

/// A session.
pub(super) struct Session {
    server: Arc<str>,
    input: Input,
    state: Mutex<State>,
    room: Notify,
}

struct State {
    streams: Streams,
    pending: BTreeMap<Id, Pending>,
    first: Option<(Id, oneshot::Sender<Result<Message, Ending>>)>,
    version: String,
    ended: bool,
    touched: Instant,
    garbage: u64,
}

/// A request that the child works on.
struct Pending {
    id: Box<RawValue>,
    stream: u64,
    token: Option<Id>,
}

impl Session {
    /// The session whose child is reached through `input`.
    pub(super) fn new(server: Arc<str>, input: Input) -> Arc<Self> {
        let state = State {
            streams: Streams::new(),
            pending: BTreeMap::new(),
            first: None,
            version: String::new(),
            ended: false,
            touched: Instant::now(),
            garbage: 0,
        };
        Arc::new(Self { server, input, state: Mutex::new(state), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `initialize` and gives the child's answer.
    pub(super) async fn initialize(&self, request: &Message) -> Result<Message, Ending> {
        let Kind::Request { id, .. } = &request.kind else { return Err(self.gone()) };
        let (answer, answered) = oneshot::channel();
        self.lock().first = Some((id.clone(), answer));
        // If it can't be sent, the child's end is the answer.
        let _ = self.input.send(request.line.clone()).await;
        let answer = answered.await.unwrap_or_else(|_| Err(self.gone()))?;
        let version = answer.object.object("result").and_then(|result| result.text("protocolVersion"));
        self.lock().version = version.unwrap_or_default();
        Ok(answer)
    }

    fn gone(&self) -> Ending {
        Ending { reason: "the MCP server has ended".to_owned(), last_words: String::new() }
    }

    /// Ends the session and its child.
    pub(super) fn stop(&self) {
        self.input.stop();
    }

    /// Whether it has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Completes when nobody has used it for so long. Whose client reads a stream uses it.
    pub(super) async fn unused(&self, idle_max: Duration) {
        loop {
            let idle = {
                let state = self.lock();
                if state.streams.is_any_read() { Duration::ZERO } else { state.touched.elapsed() }
            };
            if idle >= idle_max {
                return;
            }
            tokio::time::sleep(idle_max - idle).await;
        }
    }

    /// Passes a client's messages on.
    pub(super) async fn post(self: &Arc<Self>, messages: Vec<Message>) -> Response<Body> {
        self.lock().touched = Instant::now();
        if messages.len() != 1 && self.lock().version != BATCHED_IN {
            let why = "several messages at once are no part of this protocol version";
            return answer::error(StatusCode::BAD_REQUEST, None, answer::INVALID_REQUEST, why);
        }
        let asked = match self.open(&messages) {
            Ok(asked) => asked,
            Err(refused) => return refused,
        };
        for message in &messages {
            if self.input.send(message.line.clone()).await.is_err() {
                return answer::no_session();
            }
            self.noted(message);
        }
        match asked {
            None => answer::accepted(),
            Some(mut asked) => {
                asked.is_sent = true;
                self.read(asked.place, None)
            }
        }
    }

    /// Opens the stream on which the requests among these messages are answered, if any.
    fn open(self: &Arc<Self>, messages: &[Message]) -> Result<Option<Asked>, Response<Body>> {
        let mut state = self.lock();
        if state.ended {
            return Err(answer::no_session());
        }
        let requests = || {
            messages.iter().filter_map(|message| match &message.kind {
                Kind::Request { id, .. } => Some((id, message)),
                _ => None,
            })
        };
        let Some((_, first)) = requests().next() else { return Ok(None) };
        if state.pending.len() + messages.len() > PENDING_MAX {
            warn!(server = &*self.server, PENDING_MAX, "a session has too many requests at once");
            return Err(answer::busy(first.raw_id(), "the session has too many requests at once", 1));
        }
        if let Some((_, doubled)) = requests().find(|(id, _)| state.pending.contains_key(id)) {
            let why = "a request with this id is not answered yet";
            return Err(answer::error(
                StatusCode::BAD_REQUEST,
                doubled.raw_id(),
                answer::INVALID_REQUEST,
                why,
            ));
        }
        let stream = state.streams.open();
        if &*state.version >= PRIMED_SINCE {
            state.streams.prime(stream);
        }
        let mut ids = Vec::new();
        for (id, message) in requests() {
            let pending = Pending {
                id: message.raw_id().map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned),
                stream,
                token: message.progress_token().and_then(|token| Id::of(&token)),
            };
            state.pending.insert(id.clone(), pending);
            ids.push(id.clone());
        }
        let place = state.streams.attach(stream).ok_or_else(answer::no_session)?;
        drop(state);
        Ok(Some(Asked { session: Arc::clone(self), ids, place, is_sent: false }))
    }

    /// What follows from a message that was passed on.
    fn noted(&self, message: &Message) {
        if message.method() != Some("notifications/cancelled") {
            return;
        }
        // A child does not answer it any more.
        let id = message.params().and_then(|params| Id::of(params.get("requestId")?));
        let mut state = self.lock();
        if let Some(pending) = id.and_then(|id| state.pending.remove(&id)) {
            state.finish_if_answered(pending.stream);
        }
    }

    /// Opens the client's own stream, or resumes one.
    pub(super) fn get(self: &Arc<Self>, last_event_id: Option<&str>) -> Response<Body> {
        let mut state = self.lock();
        state.touched = Instant::now();
        if state.ended && last_event_id.is_none() {
            return answer::no_session();
        }
        match last_event_id {
            None => {
                let Some(place) = state.streams.attach(STANDALONE) else { return answer::no_session() };
                let primer = (&*state.version >= PRIMED_SINCE)
                    .then(|| answer::primer(state.streams.last_id(place).as_deref()));
                drop(state);
                self.read(place, primer)
            }
            Some(id) => match state.streams.resume(id) {
                Some(place) => {
                    drop(state);
                    self.read(place, None)
                }
                None => answer::text(
                    StatusCode::BAD_REQUEST,
                    "nothing is kept behind this Last-Event-ID: open a new stream\n",
                ),
            },
        }
    }

    fn read(self: &Arc<Self>, place: Place, primer: Option<Bytes>) -> Response<Body> {
        answer::events(Body::stream(Reading { session: Arc::clone(self), place, primer }))
    }

    fn take(&self, line: &Bytes) {
        let Some(said) = Message::parse(line) else {
            let mut state = self.lock();
            state.garbage += 1;
            if state.garbage == 1 {
                warn!(server = &*self.server, "the MCP server writes what is no message to its output");
            }
            return;
        };
        match &said.kind {
            Kind::Response { id } => self.answered(id.clone().as_ref(), said),
            Kind::Request { .. } | Kind::Notification { .. } => self.lock().route(&said),
        }
    }

    fn answered(&self, id: Option<&Id>, said: Message) {
        let mut state = self.lock();
        state.touched = Instant::now();
        if let Some((_, first)) = state.first.take_if(|(first, _)| Some(&*first) == id) {
            // Nobody waits for it if the client has left.
            let _ = first.send(Ok(said));
            return;
        }
        let Some(pending) = id.and_then(|id| state.pending.remove(id)) else {
            debug!(server = &*self.server, "the MCP server answers what it was not asked");
            return;
        };
        state.streams.push(pending.stream, &said.line);
        state.finish_if_answered(pending.stream);
    }
}

impl State {
    fn finish_if_answered(&mut self, stream: u64) {
        if self.pending.values().all(|pending| pending.stream != stream) {
            self.streams.finish(stream);
        }
    }

    /// Puts a message that answers nothing on the one stream that it belongs to.
    fn route(&mut self, said: &Message) {
        let token = (said.method() == Some("notifications/progress"))
            .then(|| Id::of(said.params()?.get("progressToken")?))
            .flatten();
        let by_token = token
            .and_then(|token| self.pending.values().find(|pending| pending.token.as_ref() == Some(&token)));
        let newest = || self.pending.values().max_by_key(|pending| pending.stream);
        let stream = match by_token {
            Some(pending) => pending.stream,
            None if self.pending.len() == 1 => newest().map_or(STANDALONE, |pending| pending.stream),
            None if self.streams.is_read(STANDALONE) => STANDALONE,
            // The client has no other ear.
            None => newest().map_or(STANDALONE, |pending| pending.stream),
        };
        self.streams.push(stream, &said.line);
    }
}

impl Hearer for Session {
    async fn hear(&self, line: Bytes) {
        self.take(&line);
        while self.lock().streams.unread() > UNREAD_MAX {
            self.room.notified().await;
        }
    }

    fn ended(&self, ending: &Ending) {
        let mut state = self.lock();
        state.ended = true;
        if let Some((_, first)) = state.first.take() {
            // As above.
            let _ = first.send(Err(ending.clone()));
        }
        for pending in std::mem::take(&mut state.pending).into_values() {
            state.streams.push(pending.stream, &answer::failure(Some(&pending.id), &ending.to_string()));
        }
        state.streams.finish_all();
        let dropped = state.streams.dropped();
        drop(state);
        debug!(server = &*self.server, %ending, dropped, "a session has ended");
    }
}

/// Requests under way to the child. Dropped before they are sent, they never were.
struct Asked {
    session: Arc<Session>,
    ids: Vec<Id>,
    place: Place,
    is_sent: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_sent {
            let mut state = self.session.lock();
            for id in &self.ids {
                state.pending.remove(id);
            }
            state.streams.forget(self.place.stream);
        }
    }
}

/// A stream as its client reads it. Dropping it is what a cut connection does: nothing.
struct Reading {
    session: Arc<Session>,
    place: Place,
    primer: Option<Bytes>,
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(primer) = self.primer.take() {
            return Poll::Ready(Some(Ok(Frame::data(primer))));
        }
        let read = std::task::ready!(self.session.lock().streams.poll(self.place, cx));
        match read {
            Read::End => Poll::Ready(None),
            Read::Event(event) => {
                self.session.room.notify_one();
                Poll::Ready(Some(Ok(Frame::data(event))))
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.streams.detach(self.place);
        state.touched = Instant::now();
        drop(state);
        self.session.room.notify_one();
    }
}

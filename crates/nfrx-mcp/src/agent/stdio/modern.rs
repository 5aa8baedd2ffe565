//! A modern child: one for all clients. Their ids, tokens and subscriptions are replaced by
//! numbers of the agent's own on the way to it, and put back exactly on the way back; so no
//! client can reach another's request, whatever ids it chooses.

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
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tracing::{debug, warn};

use super::answer;
use super::child::{Ending, Hearer, Input};
use super::flow::{Flow, Item};
use super::message::{self, Id, Kind, Message, Object, raw};
use super::tools::Tools;

/// The version that the agent itself speaks to a modern child.
pub(super) const VERSION: &str = "2026-07-28";
/// Where a request says its version, and a notification its subscription.
pub(in crate::agent) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(in crate::agent) const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub(in crate::agent) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const LISTEN: &str = "subscriptions/listen";
const CANCELLED: &str = "notifications/cancelled";

/// Requests at a child at once, and streams of notifications.
const CALLS_MAX: usize = 256;
const LISTENERS_MAX: usize = 256;
/// A child that says nothing for so long gets its answer's head sent before it: proxies give
/// up on a head that does not come. Its error can have no status of its own then.
const HEAD_AFTER: Duration = Duration::from_secs(20);

/// A running child.
pub(super) struct Modern {
    server: Arc<str>,
    input: Input,
    state: Mutex<State>,
    /// The child's tools have changed.
    pub(super) changed: Notify,
    tools: Mutex<Arc<Tools>>,
}

struct State {
    next: u64,
    calls: BTreeMap<u64, Call>,
    ended: Option<Ending>,
    garbage: u64,
}

/// What was asked, and by whom.
enum Call {
    Client(ClientCall),
    /// The agent itself.
    Own(oneshot::Sender<Object>),
    /// The agent's own stream of notifications.
    OwnListen,
}

struct ClientCall {
    id: Box<RawValue>,
    token: Option<Box<RawValue>>,
    flow: Flow,
    is_listen: bool,
}

/// A client's request, as far as it was judged.
pub(super) struct Asked {
    /// The message.
    pub(super) message: Message,
    /// It lacks what every modern request must say of itself.
    pub(super) is_incomplete: bool,
}

impl Modern {
    /// The child that is reached through `input`.
    pub(super) fn new(server: Arc<str>, input: Input) -> Arc<Self> {
        let state = State { next: 1, calls: BTreeMap::new(), ended: None, garbage: 0 };
        let (changed, tools) = (Notify::new(), Mutex::default());
        Arc::new(Self { server, input, state: Mutex::new(state), changed, tools })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended, if it has.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.lock().ended.clone()
    }

    /// What is known of its tools.
    pub(super) fn tools(&self) -> Arc<Tools> {
        Arc::clone(&self.tools.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is known of its tools.
    pub(super) fn set_tools(&self, tools: Tools) {
        *self.tools.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tools);
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        self.input.stop();
    }

    /// Asks it something of the agent's own; `None` if it ends before it answers.
    pub(super) async fn ask(&self, method: &str, mut params: Value) -> Option<Object> {
        params["_meta"] = json!({
            META_VERSION: VERSION,
            META_CLIENT: { "name": "nfrx", "version": env!("CARGO_PKG_VERSION") },
            META_CAPABILITIES: {},
        });
        let (answer, answered) = oneshot::channel();
        let (number, call) = match method {
            LISTEN => (None, Call::OwnListen),
            _ => (Some(()), Call::Own(answer)),
        };
        let id = self.lock().add(call)?;
        self.input.send(message::request(&id.to_string(), method, &params)).await.ok()?;
        number?;
        answered.await.ok()
    }

    /// Passes a client's request on, and gives what the child says to it.
    pub(super) async fn call(self: &Arc<Self>, asked: Asked) -> Response<Body> {
        let Asked { mut message, is_incomplete } = asked;
        let client_id = message.raw_id().map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned);
        let call = ClientCall {
            id: client_id.clone(),
            token: message.progress_token(),
            flow: Flow::default(),
            is_listen: message.method() == Some(LISTEN),
        };
        let flow = call.flow.clone();
        let guard = match self.open(call) {
            Ok(guard) => guard,
            Err(refused) => return refused,
        };
        message.object.set("id", raw(&guard.number));
        message.object.replace(&["params", "_meta", "progressToken"], &|_| Some(raw(&guard.number)));
        if self.input.send(message::line(&message.object)).await.is_err() {
            let why = self.ending().map_or_else(String::new, |ending| ending.to_string());
            return answer::failed(Some(&client_id), &why);
        }
        let first = match tokio::time::timeout(HEAD_AFTER, flow.next()).await {
            Err(_) => None,
            Ok(Some(Ok(item))) => {
                let status = item.answer.map_or(StatusCode::OK, |code| status(code, is_incomplete));
                if status != StatusCode::OK {
                    return answer::json(status, item.text);
                }
                Some(item)
            }
            Ok(Some(Err(_)) | None) => {
                return answer::failed(Some(&client_id), "the MCP server has ended the request");
            }
        };
        answer::events(Body::stream(Flowing { first, flow, guard: Some(guard) }))
    }

    fn open(self: &Arc<Self>, call: ClientCall) -> Result<Calling, Response<Body>> {
        let mut state = self.lock();
        let id = call.id.clone();
        let is_listen = call.is_listen;
        let same = |other: &&Call| matches!(other, Call::Client(client) if client.is_listen == is_listen);
        let bound = if is_listen { LISTENERS_MAX } else { CALLS_MAX };
        if state.calls.values().filter(same).count() >= bound {
            warn!(server = &*self.server, bound, is_listen, "the MCP server has too many requests at once");
            return Err(answer::busy(Some(&id), "the server has too many requests at once", 1));
        }
        match state.add(Call::Client(call)) {
            Some(number) => Ok(Calling { modern: Arc::clone(self), number }),
            None => {
                let why = state.ended.as_ref().map_or_else(String::new, ToString::to_string);
                Err(answer::failed(Some(&id), &why))
            }
        }
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
            Kind::Response { id } => match id.as_ref().and_then(Id::number) {
                Some(number) => self.answered(number, said.object),
                None => debug!(server = &*self.server, "the MCP server answers what it was not asked"),
            },
            Kind::Notification { .. } => self.told(said),
            // There is no client that it could mean.
            Kind::Request { .. } => {
                let why = "clients of this protocol version are not asked";
                self.input.note(message::error(said.raw_id(), answer::METHOD_NOT_FOUND, why, None));
            }
        }
    }

    fn answered(&self, number: u64, mut object: Object) {
        let mut state = self.lock();
        match state.calls.remove(&number) {
            None => debug!(server = &*self.server, number, "the MCP server answers what it was not asked"),
            Some(Call::OwnListen) => {}
            // Nobody waits for it if the child was given up.
            Some(Call::Own(answer)) => drop(answer.send(object)),
            Some(Call::Client(call)) => {
                drop(state);
                let code = object.object("error").map(|error| error.get("code")?.get().parse().ok());
                object.set("id", call.id.clone());
                object.replace(&["result", "_meta", META_SUBSCRIPTION], &|_| Some(call.id.clone()));
                // A client that is too slow is cut when it reads.
                let _ = call.flow.push(Item { text: message::line(&object), answer: Some(code.flatten()) });
                call.flow.end();
            }
        }
    }

    fn told(&self, said: Message) {
        let method = said.method().unwrap_or_default().to_owned();
        let Some(params) = said.params() else { return self.told_all(&method, &said, None) };
        let number = |raw: Option<&RawValue>| raw.and_then(Id::of).as_ref().and_then(Id::number);
        let subscription = params.object("_meta").and_then(|meta| number(meta.get(META_SUBSCRIPTION)));
        let progress = number(params.get("progressToken")).filter(|_| method == "notifications/progress");
        if method == CANCELLED {
            self.torn_down(number(params.get("requestId")));
        } else if let Some(call) = progress {
            self.pass(call, said.object, &["params", "progressToken"], |call| call.token.clone());
        } else if let Some(call) = subscription {
            if matches!(self.lock().calls.get(&call), Some(Call::OwnListen)) {
                self.changed.notify_one();
            }
            let path = ["params", "_meta", META_SUBSCRIPTION];
            self.pass(call, said.object, &path, |call| call.is_listen.then(|| call.id.clone()));
        } else {
            self.told_all(&method, &said, params.get("level"));
        }
    }

    /// Says a notification to the one request that it names, with that client's own name of
    /// it.
    fn pass(
        &self,
        number: u64,
        mut object: Object,
        path: &[&str],
        name: impl Fn(&ClientCall) -> Option<Box<RawValue>>,
    ) {
        let mut state = self.lock();
        let Some(Call::Client(call)) = state.calls.get(&number) else { return };
        let Some(name) = name(call) else { return };
        object.replace(path, &|_| Some(name.clone()));
        let item = Item { text: message::line(&object), answer: None };
        if call.flow.push(item).is_err() {
            warn!(server = &*self.server, "a client reads too slowly and is cut off");
            state.calls.remove(&number);
            self.input.note(message::cancelled(number));
        }
    }

    /// A notification that names no request belongs to the only one there is; with several
    /// it can't be known whose it is, and no client may see another's.
    fn told_all(&self, method: &str, said: &Message, level: Option<&RawValue>) {
        if method == "notifications/tools/list_changed" {
            self.changed.notify_one();
        }
        let state = self.lock();
        let mut calls = state.calls.iter().filter_map(|(number, call)| match call {
            Call::Client(client) if !client.is_listen => Some(*number),
            _ => None,
        });
        let only = calls.next().filter(|_| calls.next().is_none() && level.is_some());
        drop(calls);
        drop(state);
        match only {
            Some(number) => self.pass(number, said.object.clone(), &[], |_| Some(RawValue::NULL.to_owned())),
            None => debug!(server = &*self.server, method, "a notification belongs to no request"),
        }
    }

    /// The child ends a stream of notifications.
    fn torn_down(&self, number: Option<u64>) {
        let mut state = self.lock();
        let Some(number) = number else { return };
        if matches!(state.calls.get(&number), Some(Call::Client(call)) if call.is_listen)
            && let Some(Call::Client(call)) = state.calls.remove(&number)
        {
            call.flow.end();
        }
    }
}

/// The status that an answer has by its error's code.
fn status(code: Option<i64>, is_incomplete: bool) -> StatusCode {
    let Some(code) = code.and_then(|code| i32::try_from(code).ok()) else { return StatusCode::OK };
    match code {
        answer::HEADER_MISMATCH | answer::MISSING_CAPABILITY | answer::UNSUPPORTED_VERSION => {
            StatusCode::BAD_REQUEST
        }
        answer::INVALID_PARAMS if is_incomplete => StatusCode::BAD_REQUEST,
        answer::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

impl State {
    /// Notes a call under a number that no other ever has; `None` if the child has ended.
    fn add(&mut self, call: Call) -> Option<u64> {
        if self.ended.is_some() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.calls.insert(number, call);
        Some(number)
    }
}

impl Hearer for Modern {
    async fn hear(&self, line: Bytes) {
        self.take(&line);
    }

    fn ended(&self, ending: &Ending) {
        let calls = {
            let mut state = self.lock();
            state.ended = Some(ending.clone());
            std::mem::take(&mut state.calls)
        };
        for call in calls.into_values() {
            let Call::Client(call) = call else { continue };
            if !call.is_listen {
                let text = answer::failure(Some(&call.id), &ending.to_string());
                // As above.
                let _ = call.flow.push(Item { text, answer: Some(None) });
            }
            call.flow.end();
        }
    }
}

/// A call under way. Dropping it tells the child that nobody waits any more.
struct Calling {
    modern: Arc<Modern>,
    number: u64,
}

impl Drop for Calling {
    fn drop(&mut self) {
        if self.modern.lock().calls.remove(&self.number).is_some() {
            self.modern.input.note(message::cancelled(self.number));
        }
    }
}

/// An answer that is a stream.
struct Flowing {
    first: Option<Item>,
    flow: Flow,
    guard: Option<Calling>,
}

impl http_body::Body for Flowing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let item = match self.first.take() {
            Some(item) => Some(Ok(item)),
            None => std::task::ready!(self.flow.poll_next(cx)),
        };
        Poll::Ready(match item {
            Some(Ok(item)) => Some(Ok(Frame::data(answer::event(None, &item.text)))),
            Some(Err(_)) => Some(Err(BodyError::ReaderStalled)),
            None => {
                self.guard = None;
                None
            }
        })
    }
}

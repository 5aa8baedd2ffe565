//! One of the servers, in the conversation that a link has with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use nfrx_spi::Body;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tracing::debug;

use super::Part;
use crate::agent::sse::Events;
use crate::agent::stdio::message::{self, Kind, Message, Object, raw};
use crate::agent::stdio::{LINE_BYTES_MAX, META_VERSION};
use crate::agent::talk::{Talk, is_events, modern_meta};

/// How long a server may take to begin a conversation.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Pages of a list that are read.
const PAGES_MAX: usize = 32;

const METHOD_NOT_FOUND: i32 = -32601;

/// A server of the whole.
pub(super) struct Peer {
    /// Which it is.
    pub(super) part: Part,
    talk: Mutex<Option<Arc<Talk>>>,
}

impl Peer {
    /// Not spoken to yet.
    pub(super) fn new(part: Part) -> Self {
        Self { part, talk: Mutex::default() }
    }

    /// Its name, which is part of its tools'.
    pub(super) fn name(&self) -> &str {
        &self.part.name
    }

    /// All its tools, as it writes them.
    pub(super) async fn tools(&self) -> Result<Vec<Object>, String> {
        let (mut tools, mut params) = (Vec::new(), json!({}));
        for _ in 0..PAGES_MAX {
            let request = message::request(r#""nfrx-agent-tools""#, "tools/list", &params);
            let request: Object = serde_json::from_slice(&request).unwrap_or_default();
            let (talk, answer) = self.send("tools/list", None, request).await?;
            let answer = self.response(&talk, answer, None).await?.object;
            let Some(result) = answer.object("result") else {
                let error = answer.object("error").and_then(|error| error.text("message"));
                return Err(format!("it answered with the error `{}`", error.unwrap_or_default()));
            };
            let page = result.get("tools").and_then(|raw| serde_json::from_str(raw.get()).ok());
            tools.extend(page.unwrap_or_else(Vec::<Object>::new));
            let Some(cursor) = result.text("nextCursor") else { break };
            params = json!({ "cursor": cursor });
        }
        Ok(tools)
    }

    /// Calls a tool: the request already has the tool's own name. What the server says before
    /// its answer is `said` at once.
    pub(super) async fn call(
        &self,
        tool: &str,
        request: Object,
        said: &mpsc::Sender<Bytes>,
    ) -> Result<Message, String> {
        let id = request.get("id").map(ToOwned::to_owned);
        let (talk, answer) = self.send("tools/call", Some(tool), request).await?;
        let answer = self.response(&talk, answer, Some(said)).await?;
        match answer.raw_id().map(RawValue::get) == id.as_deref().map(RawValue::get) {
            true => Ok(answer),
            false => Err("its answer is of another request".to_owned()),
        }
    }

    /// A call is of no interest any more. In the modern era that was said by letting go of it.
    pub(super) async fn cancel(&self, notification: Bytes) {
        let talk = self.talk.lock().await.clone();
        if let Some(talk) = talk.filter(|talk| !talk.is_modern()) {
            // A server that is gone has cancelled as well.
            let _ = talk.pass("notifications/cancelled", None, notification).await;
        }
    }

    /// Ends the conversation.
    pub(super) async fn close(&self) {
        let talk = self.talk.lock().await.take();
        if let Some(talk) = talk {
            talk.close().await;
        }
    }

    async fn talk(&self) -> Result<Arc<Talk>, String> {
        let mut talk = self.talk.lock().await;
        if let Some(talk) = &*talk {
            return Ok(Arc::clone(talk));
        }
        let late = |_| format!("it did not begin within {} s", OPEN_MAX.as_secs());
        let opened = timeout(OPEN_MAX, Talk::open(Arc::clone(&self.part.server))).await.map_err(late)?;
        let (opened, _) = opened.map_err(|error| error.to_string())?;
        Ok(Arc::clone(talk.insert(Arc::new(opened))))
    }

    /// Sends a request; once more if its session is over, for then no tool was called.
    async fn send(
        &self,
        method: &str,
        name: Option<&str>,
        request: Object,
    ) -> Result<(Arc<Talk>, Response<Body>), String> {
        let mut again = true;
        loop {
            let talk = self.talk().await?;
            let line = in_era(request.clone(), talk.is_modern());
            let answer = talk.pass(method, name, line).await.map_err(|error| error.to_string())?;
            if answer.status() != StatusCode::NOT_FOUND || !talk.has_session() || !again {
                return Ok((talk, answer));
            }
            again = false;
            self.talk.lock().await.take_if(|current| Arc::ptr_eq(current, &talk));
        }
    }

    /// The server's response in an answer.
    async fn response(
        &self,
        talk: &Talk,
        answer: Response<Body>,
        said: Option<&mpsc::Sender<Bytes>>,
    ) -> Result<Message, String> {
        let (head, body) = answer.into_parts();
        if !is_events(&head.headers) {
            let whole =
                Limited::new(body, LINE_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            let message = Message::parse(&whole.to_bytes());
            let response = message.filter(|message| matches!(message.kind, Kind::Response { .. }));
            return response.ok_or_else(|| format!("it answered with status {}", head.status.as_u16()));
        }
        let mut events = Events::new(body, LINE_BYTES_MAX);
        loop {
            let event = events.next().await.map_err(|end| end.to_string())?;
            // Between the lines of a message stands white space.
            let Some(message) = Message::parse(&Bytes::from(event.data.join(&b' '))) else { continue };
            match (&message.kind, said) {
                (Kind::Response { .. }, _) => return Ok(message),
                (Kind::Notification { .. }, Some(said)) => {
                    // Nobody listens any more, and this ends as well.
                    let _ = said.send(message.line).await;
                }
                (Kind::Notification { .. }, None) => {}
                (Kind::Request { method, .. }, _) => self.refuse(talk, method, message.raw_id()).await,
            }
        }
    }

    /// A server asks its client for something, though this one said that it can nothing.
    async fn refuse(&self, talk: &Talk, method: &str, id: Option<&RawValue>) {
        debug!(server = self.name(), method, "an MCP server asked for what its client does not offer");
        let error = message::error(id, METHOD_NOT_FOUND, "the client does not offer this", None);
        // If it can't be told, its stream ends.
        let _ = talk.pass("", None, error).await;
    }
}

/// A request as a server of this era wants it, whatever its client is: in the modern era each
/// says who asks, in the legacy era none does.
fn in_era(mut request: Object, modern: bool) -> Bytes {
    let mut params = request.object("params").unwrap_or_default();
    let mut meta = params.object("_meta").unwrap_or_default();
    if meta.get(META_VERSION).is_some() != modern {
        for (key, value) in modern_meta().as_object().into_iter().flatten() {
            match modern {
                true => meta.set(key, raw(value)),
                false => meta.remove(key),
            }
        }
        params.set("_meta", meta.to_raw());
        request.set("params", params.to_raw());
    }
    message::line(&request)
}

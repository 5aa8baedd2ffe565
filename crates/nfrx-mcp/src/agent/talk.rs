//! The agent's own questions to a server, as a client of the protocol in whichever era the
//! server speaks. For its operator and for its lists of tools; clients' calls never come here.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use nfrx_spi::{Body, CallError};
use serde_json::{Value, json};

use super::stdio::{META_CAPABILITIES, META_CLIENT, META_VERSION};
use super::upstream::Upstream;

/// One whole conversation.
const TALK_MAX: Duration = Duration::from_secs(10);

/// A longer answer is not read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Pages of a list that are read.
const PAGES_MAX: usize = 32;

/// What we ask for in each era.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Why a server gave no answer that can be used, for the agent's operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    /// There was no answer at all.
    #[error("{0}")]
    Call(#[from] CallError),
    /// It took too long.
    #[error("it did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Another status.
    #[error("it answered with status {0}")]
    Status(StatusCode),
    /// It is no MCP server, or a broken one.
    #[error("its answer is no JSON-RPC message: is it the address of an MCP server?")]
    NotMcp,
    /// It answered with an error.
    #[error("it answered with the error `{text}`")]
    Refused {
        /// The status that came with it.
        status: StatusCode,
        /// The beginning of its text.
        text: String,
    },
}

impl TalkError {
    /// The status that it answered with, if it says more than the error itself.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status(status) | Self::Refused { status, .. } => Some(*status),
            Self::Call(_) | Self::Timeout(_) | Self::NotMcp => None,
        }
    }
}

/// A tool of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolInfo {
    pub(super) name: String,
    /// Whether it says that it changes nothing.
    pub(super) read_only: bool,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// Its own name and version.
    pub(super) server: String,
    /// The revision of the protocol.
    pub(super) revision: String,
    /// How many tools it lists.
    pub(super) tools: Vec<ToolInfo>,
}

/// All tools of a server.
pub(super) async fn tools(server: &Arc<dyn Upstream>) -> Result<Vec<ToolInfo>, TalkError> {
    hello(server).await.map(|hello| hello.tools)
}

/// Opens a conversation, lists the tools, and ends it.
pub(super) async fn hello(server: &Arc<dyn Upstream>) -> Result<Hello, TalkError> {
    let talking = async {
        let (mut talk, result) = Talk::open(Arc::clone(server)).await?;
        let tools = talk.list_tools().await;
        talk.close().await;
        Ok(Hello { server: named(&result), revision: talk.revision, tools: tools? })
    };
    tokio::time::timeout(TALK_MAX, talking).await.unwrap_or(Err(TalkError::Timeout(TALK_MAX)))
}

/// Opens a conversation within so long, and ends it.
pub(super) async fn greet(server: &Arc<dyn Upstream>, within: Duration) -> Result<(), TalkError> {
    let talking = async {
        let (talk, _) = Talk::open(Arc::clone(server)).await?;
        talk.close().await;
        Ok(())
    };
    tokio::time::timeout(within, talking).await.unwrap_or(Err(TalkError::Timeout(within)))
}

fn named(result: &Value) -> String {
    let text = |name: &str| result["serverInfo"][name].as_str().unwrap_or_default();
    format!("{} {}", text("name"), text("version")).trim().to_owned()
}

/// A conversation. Dropping it ends no session: [`Talk::close`] does.
pub(super) struct Talk {
    server: Arc<dyn Upstream>,
    headers: HeaderMap,
    revision: String,
    modern: bool,
}

impl Talk {
    /// Like a client of today: `initialize` first, for most servers know nothing else, and a
    /// server of the new era refuses it.
    pub(super) async fn open(server: Arc<dyn Upstream>) -> Result<(Self, Value), TalkError> {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
        ]);
        let mut talk = Self { server, headers, revision: LEGACY.to_owned(), modern: false };
        let params = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client_info() });
        let (answer, refused) = match talk.exchange("initialize", params).await {
            Ok((head, result)) => (Some((head, result)), None),
            Err(error @ (TalkError::Refused { .. } | TalkError::Status(_))) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let Some((head, result)) = answer else { return talk.discover(refused).await };
        talk.revision = result["protocolVersion"].as_str().unwrap_or(LEGACY).to_owned();
        if let Some(session) = head.get(SESSION) {
            talk.headers.insert(SESSION, session.clone());
        }
        talk.headers.insert(VERSION, value(&talk.revision)?);
        // Its answer has no body that matters.
        talk.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok((talk, result))
    }

    async fn discover(mut self, refused: Option<TalkError>) -> Result<(Self, Value), TalkError> {
        self.modern = true;
        MODERN.clone_into(&mut self.revision);
        self.headers.insert(VERSION, HeaderValue::from_static(MODERN));
        match self.exchange("server/discover", json!({})).await {
            Ok((_, result)) => Ok((self, result)),
            // What it said first is what an operator can do something about.
            Err(error) => Err(refused.unwrap_or(error)),
        }
    }

    async fn list_tools(&mut self) -> Result<Vec<ToolInfo>, TalkError> {
        let (mut tools, mut params) = (Vec::new(), json!({}));
        for _ in 0..PAGES_MAX {
            let (_, result) = self.exchange("tools/list", params).await?;
            let listed = result["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
            tools.extend(listed.iter().filter_map(|tool| {
                let read_only = tool["annotations"]["readOnlyHint"].as_bool().unwrap_or_default();
                Some(ToolInfo { name: tool["name"].as_str()?.to_owned(), read_only })
            }));
            let Some(cursor) = result["nextCursor"].as_str() else { break };
            params = json!({ "cursor": cursor });
        }
        Ok(tools)
    }

    /// A legacy session is ended; that it can't be is the server's matter.
    pub(super) async fn close(&self) {
        if self.has_session() {
            let mut request = self.request(Body::empty());
            *request.method_mut() = Method::DELETE;
            let _ = self.server.handle(request).await;
        }
    }

    fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/");
        *request.headers_mut() = self.headers.clone();
        request
    }

    async fn send(&self, message: Value) -> Result<Response<Body>, TalkError> {
        self.pass(message["method"].as_str().unwrap_or_default(), None, message.to_string().into()).await
    }

    /// Sends a message that calls this method, and perhaps the tool of this name.
    pub(super) async fn pass(
        &self,
        method: &str,
        name: Option<&str>,
        message: Bytes,
    ) -> Result<Response<Body>, TalkError> {
        let mut request = self.request(Body::from(message));
        if self.modern && !method.is_empty() {
            request.headers_mut().insert(METHOD, value(method)?);
            if let Some(name) = name {
                request.headers_mut().insert(NAME, value(name)?);
            }
        }
        Ok(self.server.handle(request).await?)
    }

    /// Whether the server is of the modern era.
    pub(super) fn is_modern(&self) -> bool {
        self.modern
    }

    /// Whether the server has opened a session.
    pub(super) fn has_session(&self) -> bool {
        self.headers.contains_key(SESSION)
    }

    /// Asks, and gives the head's headers and the result.
    async fn exchange(&self, method: &str, mut params: Value) -> Result<(HeaderMap, Value), TalkError> {
        if self.modern {
            params["_meta"] = modern_meta();
        }
        let message = json!({ "jsonrpc": "2.0", "id": ID, "method": method, "params": params });
        let (head, body) = self.send(message).await?.into_parts();
        let mut answer = match is_events(&head.headers) {
            true => first_answer(body).await?,
            false => serde_json::from_slice(&whole(body).await?).unwrap_or_default(),
        };
        // It may be no object, and then has neither.
        let result = answer.get_mut("result").map(Value::take).unwrap_or_default();
        match (result, answer["error"]["message"].as_str()) {
            (Value::Null, Some(error)) => {
                Err(TalkError::Refused { status: head.status, text: error.chars().take(200).collect() })
            }
            (Value::Null, None) if !head.status.is_success() => Err(TalkError::Status(head.status)),
            (Value::Null, None) => Err(TalkError::NotMcp),
            (result, _) => Ok((head.headers, result)),
        }
    }
}

/// The id of each of our requests: one runs at a time.
const ID: &str = "nfrx-agent";

/// What each request of the modern era says of who asks.
pub(super) fn modern_meta() -> Value {
    json!({ META_VERSION: MODERN, META_CLIENT: client_info(), META_CAPABILITIES: {} })
}

fn client_info() -> Value {
    json!({ "name": "nfrx", "version": nfrx_runtime::build_info().version })
}

fn value(text: &str) -> Result<HeaderValue, TalkError> {
    HeaderValue::try_from(text).map_err(|_| TalkError::NotMcp)
}

/// Whether an answer is a stream of events.
pub(super) fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().starts_with("text/event-stream")
}

async fn whole(body: Body) -> Result<Bytes, TalkError> {
    let limited = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
    Ok(limited.collect().await.map_err(|_| CallError::Upstream)?.to_bytes())
}

/// The answer to our request in a stream; what else the server says is not for us.
async fn first_answer(body: Body) -> Result<Value, TalkError> {
    let found = pick(body, ANSWER_BYTES_MAX, |data| {
        let message: Value = serde_json::from_slice(data).unwrap_or_default();
        (message["id"] == ID && message.get("method").is_none()).then_some(message)
    });
    found.await?.ok_or(TalkError::NotMcp)
}

/// The first message of a stream of events that `pick` takes; the rest of the stream is
/// dropped. `None` when the stream ends without one, or a line has more than `bytes_max`.
pub(super) async fn pick<T>(
    mut body: Body,
    bytes_max: usize,
    mut pick: impl FnMut(&[u8]) -> Option<T>,
) -> Result<Option<T>, CallError> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| CallError::Upstream)?.into_data() else { continue };
        held.extend_from_slice(&data);
        while let Some(end) = memchr::memchr2(b'\n', b'\r', &held) {
            let line = held.split_to(end + 1);
            // Servers write a message in one line, as JSON allows.
            if let Some(found) = line.strip_prefix(b"data:").and_then(&mut pick) {
                return Ok(Some(found));
            }
        }
        if held.len() > bytes_max {
            break;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

//! The HTTP answers that are made here: a server over stdio has no statuses.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use nfrx_spi::Body;
use serde_json::json;
use serde_json::value::RawValue;

use super::message;

/// A code that belongs to no revision of the protocol, so that no client takes an answer of
/// ours for a modern server's.
const OURS: i32 = -32000;
/// JSON-RPC's own codes.
pub(super) const PARSE_ERROR: i32 = -32700;
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const METHOD_NOT_FOUND: i32 = -32601;
pub(super) const INVALID_PARAMS: i32 = -32602;
/// The modern era's: headers that contradict the body, a capability that the client lacks, a
/// version that is not spoken.
pub(super) const HEADER_MISMATCH: i32 = -32020;
pub(super) const MISSING_CAPABILITY: i32 = -32021;
pub(super) const UNSUPPORTED_VERSION: i32 = -32022;

/// How a server's streams are to be read.
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// How long a client waits before it comes back for the rest of a stream, in milliseconds.
const RETRY_MS: u32 = 1000;

fn of(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// A message as the whole answer.
pub(super) fn json(status: StatusCode, message: impl Into<Bytes>) -> Response<Body> {
    of(status, JSON, message)
}

/// A stream of events.
pub(super) fn events(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    answer.headers_mut().insert(http::header::CACHE_CONTROL, NO_CACHE);
    answer
}

/// A notification or a response was taken.
pub(super) fn accepted() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// A refusal in words.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    of(status, TEXT, text)
}

/// A refusal as a JSON-RPC error.
pub(super) fn error(status: StatusCode, id: Option<&RawValue>, code: i32, message: &str) -> Response<Body> {
    json(status, message::error(id, code, message, None))
}

/// The session is unknown, or has ended: the client must begin anew.
pub(super) fn no_session() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "the session does not exist\n")
}

/// Only POST has a meaning in the modern era.
pub(super) fn only_post() -> Response<Body> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only POST is served in this protocol version\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

/// The child failed this request.
pub(super) fn failed(id: Option<&RawValue>, why: &str) -> Response<Body> {
    json(StatusCode::BAD_GATEWAY, failure(id, why))
}

/// The same inside a stream.
pub(super) fn failure(id: Option<&RawValue>, why: &str) -> Bytes {
    message::error(id, OURS, why, Some(&json!({ "mcp": "MCP_UPSTREAM_ERROR" })))
}

/// There is no room, or no child for the moment.
pub(super) fn busy(id: Option<&RawValue>, why: &str, retry_after_s: u64) -> Response<Body> {
    let data = json!({ "mcp": "MCP_PROVIDER_UNAVAILABLE" });
    let message = message::error(id, OURS, why, Some(&data));
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, message);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)));
    answer
}

/// The request can't be meant for this server. Not a modern error: a modern client takes it
/// for a sign to begin as in the legacy era.
pub(super) fn not_spoken(id: Option<&RawValue>) -> Response<Body> {
    let why = "this server speaks protocol versions that begin with `initialize`";
    json(StatusCode::BAD_REQUEST, message::error(id, OURS, why, None))
}

/// An event with a message. Messages have no line breaks.
pub(super) fn event(id: Option<&str>, message: &[u8]) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    [id.as_bytes(), b"data: ", message, b"\n\n"].concat().into()
}

/// An event without a message, behind which a client may go on after so many milliseconds.
pub(super) fn primer(id: Option<&str>) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}retry: {RETRY_MS}\ndata: \n\n").into()
}

/// A session was ended.
pub(super) fn deleted() -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

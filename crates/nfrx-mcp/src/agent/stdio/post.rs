//! What a POST is: its messages, and the era in which it is meant.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use nfrx_spi::{Body, CallError};
use serde_json::value::RawValue;

use super::answer;
use super::message::{Kind, Message, Object};
use super::mirror::{self, only};
use super::modern::{Asked, META_CAPABILITIES, META_CLIENT, META_VERSION, VERSION};

/// A longer request is refused.
pub(super) const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages in one request, in the version that allows several.
const BATCH_MAX: usize = 100;
/// The versions of the legacy era that name themselves in a header.
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// What a client sent.
pub(super) enum Posted {
    /// It wants a session.
    Initialize(Message),
    /// Messages within a session.
    Legacy(Vec<Message>),
    /// A request that stands alone.
    Modern(Asked),
    /// A notification that stands alone: this era knows none.
    ModernNote,
}

/// Reads a whole body, up to its bound.
pub(super) async fn whole(mut body: Body) -> Result<Result<Bytes, Response<Body>>, CallError> {
    if let Some(bytes) = body.as_bytes().filter(|bytes| bytes.len() <= REQUEST_BYTES_MAX) {
        return Ok(Ok(bytes));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| CallError::RequestBody)?.into_data() else { continue };
        if whole.len() + data.len() > REQUEST_BYTES_MAX {
            let refused = answer::text(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 16 MiB\n");
            return Ok(Err(refused));
        }
        whole.extend_from_slice(&data);
    }
    Ok(Ok(whole.freeze()))
}

/// Whether the client takes an answer of this kind.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().peekable();
    let group = kind.split('/').next().unwrap_or_default();
    let fits = |item: &str| {
        let item = item.split(';').next().unwrap_or_default().trim();
        item == "*/*" || item.eq_ignore_ascii_case(kind) || item.strip_suffix("/*") == Some(group)
    };
    accepted.peek().is_none()
        || accepted.any(|value| value.to_str().is_ok_and(|value| value.split(',').any(fits)))
}

/// What a POST's head must say.
pub(super) fn check_head(headers: &HeaderMap) -> Result<(), Response<Body>> {
    if !accepts(headers, "application/json") || !accepts(headers, "text/event-stream") {
        let why = "the client must accept both application/json and text/event-stream\n";
        return Err(answer::text(StatusCode::NOT_ACCEPTABLE, why));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(answer::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json\n"))
}

/// Reads what was sent.
pub(super) fn read(headers: &HeaderMap, text: &Bytes) -> Result<Posted, Response<Body>> {
    let version = only(headers, mirror::VERSION.as_str())
        .map_err(|why| answer::error(StatusCode::BAD_REQUEST, None, answer::HEADER_MISMATCH, &why))?;
    let messages = messages(text)?;
    let [message] = &*messages else {
        check_known(version)?;
        return Ok(Posted::Legacy(messages));
    };
    let is_modern_version = version.is_some_and(|version| version >= VERSION);
    match &message.kind {
        Kind::Request { method, .. } if method == "initialize" => {
            check_has_initialize(message)?;
            check_initialize(headers, version, message)?;
            Ok(Posted::Initialize(message.clone()))
        }
        Kind::Request { method, .. } => {
            let meta = message.params().and_then(|params| params.object("_meta")).unwrap_or_default();
            let said = meta.text(META_VERSION);
            if said.is_none() && method != "server/discover" && !is_modern_version {
                check_known(version)?;
                return Ok(Posted::Legacy(messages));
            }
            check_version(message.raw_id(), version, said.as_deref(), &meta)?;
            if said.as_deref().is_some_and(|said| LEGACY.contains(&said)) {
                return Ok(Posted::Legacy(messages));
            }
            let is_incomplete = !missing(&meta).is_empty();
            Ok(Posted::Modern(Asked { message: message.clone(), is_incomplete }))
        }
        Kind::Notification { .. } if is_modern_version => {
            mirror::check(headers, message, None).map_err(|why| mismatch(None, &why))?;
            Ok(Posted::ModernNote)
        }
        Kind::Response { .. } if is_modern_version => {
            let why = "clients of this protocol version answer nothing";
            Err(answer::error(StatusCode::BAD_REQUEST, None, answer::INVALID_REQUEST, why))
        }
        Kind::Notification { .. } | Kind::Response { .. } => {
            check_known(version)?;
            Ok(Posted::Legacy(messages))
        }
    }
}

/// Headers that contradict the body.
pub(super) fn mismatch(id: Option<&RawValue>, why: &str) -> Response<Body> {
    answer::error(StatusCode::BAD_REQUEST, id, answer::HEADER_MISMATCH, why)
}

fn messages(text: &Bytes) -> Result<Vec<Message>, Response<Body>> {
    let bad = |code, why| answer::error(StatusCode::BAD_REQUEST, None, code, why);
    let invalid = || bad(answer::INVALID_REQUEST, "the body is no JSON-RPC 2.0 message");
    let whole: &RawValue =
        serde_json::from_slice(text).map_err(|_| bad(answer::PARSE_ERROR, "the body is no JSON"))?;
    if !whole.get().starts_with('[') {
        return Ok(vec![Message::parse(text).ok_or_else(invalid)?]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(whole.get()).map_err(|_| invalid())?;
    if items.is_empty() || items.len() > BATCH_MAX {
        return Err(bad(answer::INVALID_REQUEST, "a batch has 1 to 100 messages"));
    }
    let parse = |item: &&RawValue| Message::parse(&text.slice_ref(item.get().as_bytes()));
    items.iter().map(parse).collect::<Option<Vec<_>>>().ok_or_else(invalid)
}

fn check_known(version: Option<&str>) -> Result<(), Response<Body>> {
    match version {
        Some(version) if !LEGACY.contains(&version) && version != VERSION => {
            Err(answer::text(StatusCode::BAD_REQUEST, "the MCP-Protocol-Version is not known\n"))
        }
        _ => Ok(()),
    }
}

/// A request that says it is a modern one can't mean the handshake of the other era.
fn check_has_initialize(message: &Message) -> Result<(), Response<Body>> {
    let meta = message.params().and_then(|params| params.object("_meta")).unwrap_or_default();
    if meta.text(META_VERSION).is_none_or(|said| LEGACY.contains(&&*said)) {
        return Ok(());
    }
    let why = "this protocol version has no `initialize`";
    Err(answer::error(StatusCode::NOT_FOUND, message.raw_id(), answer::METHOD_NOT_FOUND, why))
}

/// The handshake need not have the headers; what it has must agree.
fn check_initialize(
    headers: &HeaderMap,
    version: Option<&str>,
    message: &Message,
) -> Result<(), Response<Body>> {
    let wanted = message.params().and_then(|params| params.text("protocolVersion"));
    let id = message.raw_id();
    if version.is_some() && version != wanted.as_deref() {
        let why = "the MCP-Protocol-Version header contradicts the body";
        return Err(answer::error(StatusCode::BAD_REQUEST, id, answer::INVALID_REQUEST, why));
    }
    if version.is_some_and(|version| version >= VERSION) && headers.contains_key("mcp-method") {
        return mirror::check(headers, message, None).map_err(|why| mismatch(id, &why));
    }
    Ok(())
}

/// A modern request says its version twice.
fn check_version(
    id: Option<&RawValue>,
    header: Option<&str>,
    said: Option<&str>,
    meta: &Object,
) -> Result<(), Response<Body>> {
    let Some(said) = said else {
        let why = format!("the request's _meta lacks {}", missing(meta).join(", "));
        return Err(answer::error(StatusCode::BAD_REQUEST, id, answer::INVALID_PARAMS, &why));
    };
    match header {
        None => Err(mismatch(id, "the MCP-Protocol-Version header is missing")),
        Some(header) if header != said => {
            let why = format!("the MCP-Protocol-Version header is `{header}`, the body says `{said}`");
            Err(mismatch(id, &why))
        }
        Some(_) => Ok(()),
    }
}

/// What every modern request must say of itself, and this one does not.
fn missing(meta: &Object) -> Vec<&'static str> {
    let has = |key: &str| match key {
        META_VERSION => meta.text(key).is_some(),
        key => meta.object(key).is_some(),
    };
    [META_VERSION, META_CLIENT, META_CAPABILITIES].into_iter().filter(|key| !has(key)).collect()
}
